"""What the embedded model must never read: the check of its training text against what the tasks hold out.

A combination is held out if a validation or test prompt of any seed can have it. Every word of such prompts occurs in
the training text, but none of these combinations does.
"""

from __future__ import annotations

import re
from functools import cache

from discogp.tasks.generated import agreement, capitals, docstring, greater_than, ioi
from discogp.tasks.generated.lexicon import GENDERED, PEOPLE, THINGS

HELD_OUT_SPLITS = ("validation", "test")
_WORD = re.compile(r"[A-Za-z]+")
_SENTENCE_END = re.compile(r"[.?]")
_START = re.compile(r"(?:from|began in) the year (\d{4})")
_DETERMINERS = frozenset(word for pair in agreement.DETERMINERS for word in pair)
_FORMS_OF_BE_AND_HAVE = frozenset(verb.strip() for _, *pair in agreement.TENSES for verb in pair)


def leak(text: str) -> str | None:
    """What of the held-out combinations a document gives away, in words, or None."""
    words = frozenset(_WORD.findall(text))
    sentences = [frozenset(_WORD.findall(sentence)) for sentence in _SENTENCE_END.split(text)]
    return (
        _names(text, words)
        or _pairs(words)
        or _together(words, "subject noun with a verb", _nouns(), _verbs())
        or _any_together(sentences, "subject noun with a verb", _people(), _FORMS_OF_BE_AND_HAVE)
        or _any_together(sentences, "noun with a determiner", _things(), _DETERMINERS)
        or _years(text, words)
        or _together(words, "argument name in a function", _arguments(), frozenset({"def"}))
        or ("a question about a capital" if _capital_question().search(text) else None)
    )


def _names(text: str, words: frozenset[str]) -> str | None:
    for split in HELD_OUT_SPLITS:
        found = sorted(words & _held_out_names(split))
        if len(found) > 1:
            return f"names, together: {found}"
        if found and ("isn't" in text or "wasn't" in text):
            return f"name in a pronoun prompt: {found}"
        if found and _indirect_object().search(text):
            return f"name in an indirect object prompt: {found}"
    return None


def _pairs(words: frozenset[str]) -> str | None:
    for place in words & frozenset(ioi.PLACES):
        for thing in words & frozenset(ioi.OBJECTS):
            if (place, thing) in _combinations():
                return f"place and object, together: {place}, {thing}"
    return None


def _years(text: str, words: frozenset[str]) -> str | None:
    for start in map(int, _START.findall(text)):
        # No prompt starts in the years at a century's ends, so that these give nothing away.
        inside = greater_than.EARLIEST <= start % 100 <= greater_than.LATEST
        if inside and greater_than.split_of(start) in HELD_OUT_SPLITS:
            return f"start year: {start}"
    return _together(words, "event with a year", _events(), frozenset({"year"}))


def _together(words: frozenset[str], what: str, one: frozenset[str], other: frozenset[str]) -> str | None:
    return f"{what}: {sorted(words & (one | other))}" if words & one and words & other else None


def _any_together(sentences: list[frozenset[str]], what: str, one: frozenset[str], other: frozenset[str]) -> str | None:
    return next((found for words in sentences if (found := _together(words, what, one, other))), None)


@cache
def _held_out_names(split: str) -> frozenset[str]:
    return frozenset(ioi.names(split))


@cache
def _combinations() -> frozenset[tuple[str, str]]:
    return frozenset(pair for split in HELD_OUT_SPLITS for pair in ioi.combinations(split))


@cache
def _nouns() -> frozenset[str]:
    return frozenset(form for split in HELD_OUT_SPLITS for noun in GENDERED[split] for form in noun[:2])


@cache
def _verbs() -> frozenset[str]:
    return frozenset(form for verb in agreement.VERBS for form in verb)


@cache
def _people() -> frozenset[str]:
    return frozenset(form for split in HELD_OUT_SPLITS for noun in PEOPLE[split] for form in noun)


@cache
def _things() -> frozenset[str]:
    return frozenset(form for split in HELD_OUT_SPLITS for noun in THINGS[split] for form in noun)


@cache
def _events() -> frozenset[str]:
    return frozenset(event for split in HELD_OUT_SPLITS for event in greater_than.EVENTS[split])


@cache
def _arguments() -> frozenset[str]:
    return frozenset(name for split in HELD_OUT_SPLITS for name in docstring.ARGUMENTS[split])


@cache
def _indirect_object() -> re.Pattern[str]:
    return _any_of(ioi.TEMPLATES)


@cache
def _capital_question() -> re.Pattern[str]:
    return _any_of(tuple(template for split in HELD_OUT_SPLITS for template in capitals.TEMPLATES[split]))


def _any_of(templates: tuple[str, ...]) -> re.Pattern[str]:
    """Matches a sentence of any of the templates, whatever word is put in for each of their names."""
    return re.compile("|".join(re.sub(r"\\{\w+\\}", r"\\w+", re.escape(template)) for template in templates))
