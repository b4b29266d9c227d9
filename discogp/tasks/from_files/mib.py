"""MIB from the vocabularies of its repository: IOI, colours as multiple choice, and RAVEL's facts of cities.

MIB's own prompts lie on the hub (mib-bench/*; `forms/mib.py` reads them as a task file). What its repository has are
the words they are made of, and from these the prompts are made here, in MIB's wording:

- `mib/ioi`: a template, two names of which one acts, a place, an object; the counterfactual lets the other one act.
- `mib/mcqa`: an object, its colour among four choices; the counterfactual has the choices in another order.
- `mib/ravel_…`: country, continent or language of a city; counterfactuals are other cities with as many tokens.

Source: Mueller et al. 2025 (arXiv 2504.13151), files of github.com/aaronmueller/MIB; RAVEL: Huang et al. 2024 (arXiv
2402.17700), whose prompts are used for its facts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from discogp.errors import TaskError
from discogp.paths import user_path
from discogp.tasks.base import Example, Splits, SplitSizes, check_option, register
from discogp.tasks.from_files.facts import fact_examples, split_facts
from discogp.tasks.from_files.forms.json_table import Listing, read_document
from discogp.tasks.from_files.lines import Problems, read_text, texts_of
from discogp.tasks.from_files.pool import Pool, split_pool
from discogp.tasks.from_files.published import published_file
from discogp.terms import Answers

_WHAT = "MIB file"
_CITIES, _COLORS = "RAVEL/ravel_city_entity.json", "simple_MCQA/object_color_pairs.json"
_IOI = tuple(f"IOI_task/{name}.json" for name in ("templates", "names", "places", "objects"))
_LETTERS = "ABCD"
_IOI_PROMPTS = 2000
_SLOTS = ("{name_A}", "{name_B}", "{name_C}", "{place}", "{object}")

_Made = tuple[tuple[Example, ...], Problems]


@dataclass(frozen=True)
class _Kind:
    """One of the tasks: its `files`, and how their values and names become examples."""

    title: str
    description: str
    files: tuple[str, ...]
    make: Callable[[Sequence[tuple[Path, Any]]], _Made]
    paired: bool = False


@dataclass(frozen=True)
class MibTask:
    """One task. `data`: a folder that has MIB's files, or the file itself of a task that has one."""

    kind: str
    data: str | Path | None = None
    answers: Answers = "token"
    source = "MIB (Mueller et al. 2025, arXiv 2504.13151; Apache-2.0)"

    def __post_init__(self) -> None:
        check_option(self.name, "answers", self.answers, Answers)

    @property
    def name(self) -> str:
        return f"mib/{self.kind}"

    @property
    def title(self) -> str:
        return f"MIB {_KINDS[self.kind].title}"

    @property
    def description(self) -> str:
        return _KINDS[self.kind].description

    def pool(self) -> Pool:
        """See `PooledTask.pool`."""
        given = None if self.data is None else user_path(self.data)
        kind = _KINDS[self.kind]
        # Given one of several files, the others lie beside it.
        place = given.parent if given is not None and given.is_file() and len(kind.files) > 1 else given
        paths = tuple(published_file("mib", name, place) for name in kind.files)
        examples, problems = _read(self.kind, paths, tuple(path.stat().st_mtime_ns for path in paths))
        return Pool(examples, dict(problems.dropped), problems.notes(), kind.paired, files=paths)

    def split(self, examples: Sequence[Example], sizes: SplitSizes, seed: int) -> Splits:
        """See `PooledTask.split`."""
        if _KINDS[self.kind].paired:
            return split_facts(self.name, examples, sizes, seed)
        groups = (lambda e: e.group, "No object or pair of names is in more than one split.")
        return split_pool(
            self.name, examples, (groups, (lambda e: e.prompt, "No prompt is in two splits.")), sizes, seed
        )

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`."""
        return self.split(self.pool().examples, sizes, seed)


@lru_cache(maxsize=4)
def _read(kind: str, paths: tuple[Path, ...], changed: tuple[int, ...]) -> _Made:
    values = [(path, read_document(read_text(path, _WHAT), _what(path))) for path in paths]
    return _KINDS[kind].make(values)


def _what(path: Path) -> str:
    return f"the {_WHAT} {path.name!r}"


def _words(path: Path, value: Any, problems: Problems) -> list[str]:
    """A JSON list of texts."""
    items = value.items if isinstance(value, Listing) else ()
    found: list[str] = []
    for line, item in items:
        text = texts_of({path.stem: item}, (path.stem,), "a text", line, problems)
        found += text or ()
    if len(found := list(dict.fromkeys(found))) < 2:
        raise TaskError(
            f"{_what(path)} must be a JSON list of two different texts or more; get it from github.com/aaronmueller/MIB"
        )
    return found


def _ioi(values: Sequence[tuple[Path, Any]]) -> _Made:
    problems = Problems(values[0][0], _WHAT)
    templates, names, places, objects = (_words(path, value, problems) for path, value in values)
    whole = [t for t in templates if all(t.count(slot) == 1 for slot in _SLOTS)]
    rng = random.Random("mib/ioi")
    examples: dict[str, Example] = {}
    for _ in range(_IOI_PROMPTS if whole else 0):
        first, second = rng.sample(names, 2)
        thing, place = rng.choice(objects), rng.choice(places)
        # The templates come in twos, with "a" and with "an".
        fitting = [t for t in whole if f"{'a' if thing[0] in 'aeiou' else 'an'} {{object}}" not in t]
        if not fitting:
            continue
        said = dict(zip(_SLOTS, (first, second, first, place, thing), strict=True))
        template = rng.choice(fitting)
        acts, other = rng.sample((first, second), 2)
        prompt, counterfactual = (_filled(template, said | {"{name_C}": name}) for name in (acts, other))
        group = " and ".join(sorted((first, second)))
        examples[prompt] = Example(prompt, counterfactual, (f" {other}",), (f" {acts}",), group)
    problems.refuse_if_empty(len(examples))
    return tuple(examples.values()), problems


def _filled(template: str, said: Mapping[str, str]) -> str:
    for slot, word in said.items():
        template = template.replace(slot, word)
    return template


def _mcqa(values: Sequence[tuple[Path, Any]]) -> _Made:
    ((path, value),) = values
    problems = Problems(path, _WHAT)
    pairs: dict[str, str] = {}
    for line, item in value.items if isinstance(value, Listing) else ():
        pair = texts_of(item if isinstance(item, dict) else {}, ("object", "color"), "a text", line, problems)
        if pair is not None:
            pairs[pair[0]] = pair[1]
    problems.refuse_if_empty(len(pairs))
    colors = list(dict.fromkeys(pairs.values()))
    if len(colors) < len(_LETTERS):
        raise TaskError(f"{_what(path)} has {len(colors)} colours; a question needs {len(_LETTERS)}")
    rng = random.Random("mib/mcqa")
    examples: list[Example] = []
    for thing, color in pairs.items():
        others = rng.sample([other for other in colors if other != color], len(_LETTERS) - 1)
        for place, letter in enumerate(_LETTERS):
            asked = _question(thing, color, [*others[:place], color, *others[place:]])
            moved = rng.choice([other for other in range(len(_LETTERS)) if other != place])
            other = _question(thing, color, [*others[:moved], color, *others[moved:]])
            wrong = tuple(f" {mark}" for mark in _LETTERS if mark != letter)
            examples.append(Example(asked, other, (f" {letter}",), wrong, group=thing))
    return tuple(examples), problems


def _question(thing: str, color: str, choices: Sequence[str]) -> str:
    article = "An" if thing[0].lower() in "aeiou" else "A"
    offered = "\n".join(f"{letter}. {choice}" for letter, choice in zip(_LETTERS, choices, strict=True))
    return f"Question: {article} {thing} is {color}. What color is {article.lower()} {thing}?\n{offered}\nAnswer:"


def _ravel(attribute: str, template: str) -> Callable[[Sequence[tuple[Path, Any]]], _Made]:
    def make(values: Sequence[tuple[Path, Any]]) -> _Made:
        ((path, value),) = values
        problems = Problems(path, _WHAT)
        problems.unit = "city"
        facts: dict[str, tuple[str, ...]] = {}
        for number, (city, known) in enumerate(value.items() if isinstance(value, dict) else (), start=1):
            found = texts_of(known if isinstance(known, dict) else {}, (attribute,), "a name", number, problems)
            if found is not None and city.strip():
                facts[city] = found
        problems.refuse_if_empty(len(facts))
        return fact_examples(facts, template, _what(path)), problems

    return make


_KINDS: Mapping[str, _Kind] = {
    "ioi": _Kind("IOI", "Whom did the one who acts give it to? The counterfactual lets the other one act.", _IOI, _ioi),
    "mcqa": _Kind(
        "MCQA, colours",
        "The letter of the colour that has just been said, among four; the counterfactual has them in another order.",
        (_COLORS,),
        _mcqa,
    ),
} | {
    f"ravel_{attribute.lower()}": _Kind(
        f"RAVEL, {attribute.lower()}",
        f"The {attribute.lower()} of a city, among those of all. The counterfactual prompt has another city.",
        (_CITIES,),
        _ravel(attribute, template),
        paired=True,
    )
    for attribute, template in (
        ("Country", "{} is a city in the country of"),
        ("Continent", "{} belongs to the continent of"),
        ("Language", "People in {} usually speak"),
    )
}


def _register(kind: str) -> None:
    def make(data: str | Path | None = None, answers: Answers = "token") -> MibTask:
        return MibTask(kind, data, answers)

    register(f"mib/{kind}")(make)


for _kind in _KINDS:
    _register(_kind)
