"""From examples to token ids: right-padded prompts, one token per answer, nothing dropped without a count.

Axes: batch b, position t, candidate c. Answers are read off in context: the tokens of prompt + answer must be the
prompt's tokens and exactly one more. This is right for every kind of tokenizer (byte-level, sentence-piece, whole
word) and never sees a beginning-of-sequence token, which some tokenizers put in front of every text. The context of an
answer is its prompt's last word where that word is encoded alone as it is in the prompt: many prompts end alike, and
what is asked once is not asked again, so that 100,000 prompts take seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from discogp.errors import TaskError
from discogp.tasks.base import Example, Messages
from discogp.tasks.chat import Refused, render
from discogp.tasks.encoded import Prompts, Row
from discogp.tasks.fitting import has_unknown, unknown_words
from discogp.tasks.opening import opening
from discogp.tasks.spacing import runs_on, visible
from discogp.tasks.token_id import TokenId
from discogp.terms import Answers, Bos

MULTI_TOKEN = "an answer is more than one token"
GLUED = "an answer without its leading space would run into the prompt's last word"
UNKNOWN_ANSWER = "an answer is not in the tokenizer's vocabulary"
UNKNOWN_PROMPT = "a prompt has words that are not in the tokenizer's vocabulary"
MERGED = "an answer makes other tokens of the prompt's end; if it is meant so, mark it exact"
TOO_LONG = "a prompt is longer than the model takes"
BEYOND = "a token of the prompt or of every answer is beyond the model's vocabulary"
NO_OTHER = "there is no counterfactual prompt, which resample ablation needs"
CHAT_REFUSED = "the chat template refuses the messages"
SETTLED = "an answer is the beginning of all on the other side, so that the likelier one is known beforehand"
SAME_TOKEN = "a correct and a wrong answer are the same token"
UNEQUAL = "prompt and counterfactual differ in their number of tokens"
NO_PREFIX = "the two sentences share no first token, so there is no prompt"
NO_SPLIT = "one sentence is the beginning of the other, so there is no wrong answer"


NAMED = 5
"""How many of the dropped are told one by one."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How examples become prompts of one model: its opening token; answers of one token or of any number; whether every
    prompt needs a counterfactual; how many positions the model has, and how many token ids (None: any)."""

    bos: Bos = "auto"
    answers: Answers = "token"
    need_counterfactual: bool = False
    positions: int | None = None
    vocabulary: int | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Encoded:
    """Prompts and, by reason, how many examples could not be used; of the first few, where they stand and why.

    `answers_left_out`: by reason, how many different answers were left out of examples that have others.
    `notes`: what was read otherwise than it was given.
    """

    prompts: Prompts
    dropped: dict[str, int]
    answers_left_out: dict[str, int]
    first: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def told(self, before: Sequence[str] = ()) -> list[str]:
        """The notes, and one on the first that were dropped; none that has been told."""
        first = (f"left out: {'; '.join(self.first)}",) if self.first else ()
        return [note for note in (*self.notes, *first) if note not in before]


class _Unusable(Exception):
    """An example or an answer that the tokenizer cannot express: the reason that is counted, and what it was."""

    def __init__(self, reason: str, what: Callable[[], str] | None = None) -> None:
        super().__init__(reason)
        self.what = what


def encode(examples: Iterable[Example], tokenizer: Any, bos_id: int | None, reading: Reading | None = None) -> Encoded:
    """Token ids of the examples, `bos_id` (if given) in front of every prompt that does not begin with it.

    Dropped, and counted by reason: answers of more than one token (unless whole answers are read), answers glued to the
    prompt for want of a leading space, words unknown to the tokenizer, ids unknown to the model, a correct and a wrong
    answer that are one token, more tokens than the model takes, and, where one is needed, counterfactuals that are
    missing or of another length (where none is needed, those are left out of their examples). Of several correct or
    several wrong answers, those that do not fit are left out, and the example is dropped when a side has none left. A
    pair of sentences is cut at the first token in which they differ, and a chat is rendered; their examples then say
    the prompt and the answers that the model is asked. If any example has no counterfactual, the result has none.
    TaskError if nothing is left.
    """
    given, reading = tuple(examples), reading or Reading()
    dropped = _Dropped()
    examples = _rendered(given, tokenizer, dropped)
    vocabulary = _Vocabulary(tokenizer, bos_id, reading)
    vocabulary.read(_texts(examples))
    vocabulary.read(_answers_in_context(examples, vocabulary))
    kept: list[Row] = []
    left_out: dict[str, str] = {}
    without = 0
    for example in examples:
        try:
            row = _row(example, vocabulary, left_out) if example.sentences is None else _pair(example, vocabulary)
            without += row.counterfactual is None and example.counterfactual is not None
            kept.append(row)
        except _Unusable as reason:
            dropped.add(example, reason)
    if not kept:
        why = "; ".join(f"{count} × {reason}" for reason, count in dropped.counts.items()) or "there were none"
        first = f" ({dropped.first[0]})" if dropped.first else ""
        raise TaskError(
            f"none of the {len(given)} examples can be used with this tokenizer ({why}){first}; {_advice(dropped)}"
        )
    note = f"{without} counterfactuals do not fit their prompts, so there is no resample ablation"
    return Encoded(
        prompts=Prompts.of(kept, padding=0 if bos_id is None else bos_id),
        dropped=dict(dropped.counts),
        answers_left_out=dict(Counter(left_out.values())),
        first=tuple(dropped.first),
        notes=(*((note,) if without else ()), *_ids_note(row.example for row in kept)),
    )


def _vague(text: str, others: Sequence[str]) -> bool:
    return not text or "\ufffd" in text or text in others


def _ids_note(examples: Iterable[Example]) -> list[str]:
    """What the token ids of a file mean to this tokenizer: only whoever made it can tell whether that is meant."""
    answers = (answer for example in examples for answer in (*example.correct, *example.wrong))
    given = {answer.number: answer for answer in answers if isinstance(answer, TokenId)}
    first = ", ".join(f"{number} is “{visible(text)}”" for number, text in list(given.items())[:NAMED])
    note = f"the answers are token ids, read as this model's: {first}; other words were meant if it is another's file"
    return [note] if given else []


class _Dropped:
    """Examples that cannot be used, by reason; the first of them by name."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first: list[str] = []

    def add(self, example: Example, reason: _Unusable) -> None:
        self.counts[str(reason)] += 1
        # A task of a known form drops thousands by rule; where a line can be mended, it is named.
        if len(self.first) < NAMED and (example.where or reason.what):
            place = example.where or f"“{_short(example.prompt)}”"
            self.first.append(f"{place}: {reason.what() if reason.what else reason}")


def _advice(dropped: _Dropped) -> str:
    if dropped.counts and set(dropped.counts) <= {UNEQUAL, NO_OTHER}:
        return "give each a counterfactual of as many tokens (column 'counterfactual'), or choose zero or mean ablation"
    return "mend them, or choose another task or model"


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"…{text[-39:]}"


def _rendered(examples: tuple[Example, ...], tokenizer: Any, dropped: _Dropped) -> tuple[Example, ...]:
    """The examples, chats as their template writes them; those that it refuses are dropped."""
    chats = dict.fromkeys(m for e in examples for m in (e.messages, e.counterfactual_messages) if m is not None)
    if not chats:
        return examples
    texts: dict[Messages | None, str | Refused] = dict(zip(chats, render(tuple(chats), tokenizer), strict=True))
    found: list[Example] = []
    for example in examples:
        own = texts.get(example.messages, example.prompt)
        other = texts.get(example.counterfactual_messages, example.counterfactual)
        refused = next((text for text in (own, other) if isinstance(text, Refused)), None)
        if refused is not None:
            dropped.add(example, _Unusable(CHAT_REFUSED, partial("the chat template says: {}".format, refused.why)))
        else:
            found.append(replace(example, prompt=str(own), counterfactual=None if other is None else str(other)))
    return tuple(found)


class _Vocabulary:
    """Texts to ids, each text asked once. Special tokens are never added: with them, every answer would begin (or
    even be) the same token."""

    def __init__(self, tokenizer: Any, bos_id: int | None, reading: Reading) -> None:
        self._tokenizer = tokenizer
        self._bos_id = bos_id
        self._ids: dict[str, list[int]] = {}
        self.reading = reading
        self.unknown: int | None = getattr(tokenizer, "unk_token_id", None)

    def read(self, texts: Iterable[str]) -> None:
        """Encode all texts in one call, which is much quicker than one call each."""
        new = [text for text in dict.fromkeys(texts) if text not in self._ids]
        if new:
            self._ids.update(zip(new, self._tokenizer(new, add_special_tokens=False)["input_ids"], strict=True))

    def ids(self, text: str) -> list[int]:
        self.read((text,))
        return self._ids[text]

    def decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, clean_up_tokenization_spaces=False)

    def opened(self, ids: list[int], chat: bool) -> list[int]:
        return opening(ids, self._tokenizer, self._bos_id, self.reading.bos, chat) + ids

    def prompt(self, text: str, chat: bool) -> list[int]:
        """The ids of a prompt with its opening token; _Unusable, naming words, if the tokenizer lacks some."""
        ids = self.ids(text)
        if self.has_unknown(text, ids):
            raise _Unusable(UNKNOWN_PROMPT, lambda: f"not in the vocabulary: {unknown_words(text, self._tokenizer)}")
        self.check_known(ids)
        return self.opened(ids, chat)

    def check_known(self, ids: list[int]) -> None:
        """_Unusable, naming it, for a token that the model has no embedding for."""
        limit = self.reading.vocabulary
        if limit is not None and max(ids, default=0) >= limit:
            beyond = max(ids)
            raise _Unusable(BEYOND, lambda: f"{self.decode([beyond])!r} has the id {beyond}; the model has {limit}")

    def has_unknown(self, text: str, ids: list[int]) -> bool:
        return has_unknown(text, ids, self._tokenizer)

    def answer(self, example: Example, answer: str) -> list[int]:
        """The tokens that `answer` is after its prompt; _Unusable if it cannot be read there, or is not to be."""
        prompt = example.prompt
        if isinstance(answer, TokenId):
            self.check_known([answer.number])
            return [answer.number]
        # Digits may continue a number ("17" + "34"); a letter after a letter only means that the space was forgotten.
        if not example.exact and runs_on(prompt, answer):
            raise _Unusable(GLUED, lambda: f"{answer!r} would run on with the last word")
        before = self.context(prompt)
        start, whole = self.ids(before), self.ids(before + answer)
        found = whole[len(start) :]
        if whole[: len(start)] != start or not found:
            found = self._apart(start, before, answer, example.exact)
        if self.reading.answers == "token" and len(found) != 1:
            raise _Unusable(MULTI_TOKEN)
        if self.has_unknown(answer, found):
            raise _Unusable(UNKNOWN_ANSWER, lambda: f"not in the vocabulary: {answer!r}")
        self.check_known(found)
        return found

    def named(self, answer: str, others: Sequence[str] = ()) -> str:
        """A token that was given by its id, with its text where that is one and tells it from the others."""
        text = self.decode([answer.number]) if isinstance(answer, TokenId) else ""
        return TokenId(answer.number, text) if isinstance(answer, TokenId) and not _vague(text, others) else answer

    def _apart(self, start: list[int], before: str, answer: str, exact: bool) -> list[int]:
        """The answer's own tokens, where prompt and answer together would be cut elsewhere than between them."""
        alone = self.ids(answer)
        if not (exact or answer.isspace()):
            raise _Unusable(MULTI_TOKEN if self.reading.answers == "token" else MERGED)
        if not alone or self.decode([*start, *alone]) != self.decode(start) + answer:
            raise _Unusable(MERGED)
        return alone

    def context(self, prompt: str) -> str:
        """The prompt's last word, with its space or without, if its tokens there are those alone; else the prompt."""
        ids = self.ids(prompt)
        for tail in _tails(prompt):
            end = self.ids(tail)
            if end and ids[-len(end) :] == end:
                return tail
        return prompt


def _tails(prompt: str) -> tuple[str, ...]:
    space = prompt.rfind(" ")
    return () if space < 0 or space + 1 == len(prompt) else (prompt[space:], prompt[space + 1 :])


def _texts(examples: Sequence[Example]) -> Iterator[str]:
    for example in examples:
        if example.sentences is not None:
            yield from example.sentences
            continue
        yield example.prompt
        yield from _tails(example.prompt)
        if example.counterfactual is not None:
            yield example.counterfactual


def _answers_in_context(examples: Sequence[Example], vocabulary: _Vocabulary) -> Iterator[str]:
    for example in examples:
        if example.sentences is None:
            before = vocabulary.context(example.prompt)
            answers = (answer for answer in (*example.correct, *example.wrong) if not isinstance(answer, TokenId))
            yield from (before + answer for answer in answers)


def _row(example: Example, vocabulary: _Vocabulary, left_out: dict[str, str]) -> Row:
    prompt = vocabulary.prompt(example.prompt, example.messages is not None)
    other = _counterfactual(example, len(prompt), vocabulary)
    correct = _side(example, example.correct, vocabulary, left_out)
    wrong = _side(example, example.wrong, vocabulary, left_out)
    if set(map(tuple, correct)) & set(map(tuple, wrong)):
        raise _Unusable(SAME_TOKEN)
    shared = _shared(correct + wrong)
    beginning = correct[0][:shared]
    correct, wrong = ([ids[shared:] for ids in side] for side in (correct, wrong))
    longest = len(prompt) + shared + max(map(len, correct + wrong)) - 1
    room = vocabulary.reading.positions
    if room is not None and longest > room:
        raise _Unusable(TOO_LONG, lambda: f"{longest} tokens; the model takes {room}")
    if any(isinstance(answer, TokenId) for answer in (*example.correct, *example.wrong)):
        right = tuple(map(vocabulary.named, example.correct))
        example = replace(example, correct=right, wrong=tuple(vocabulary.named(a, right) for a in example.wrong))
    row = Row(example, prompt + beginning, None if other is None else other + beginning, correct, wrong)
    if row.settled is not None:
        raise _Unusable(SETTLED)
    return row


def _counterfactual(example: Example, length: int, vocabulary: _Vocabulary) -> list[int] | None:
    """The counterfactual's ids; where none is needed, None for one that does not fit."""
    needed = vocabulary.reading.need_counterfactual
    if example.counterfactual is None:
        if needed:
            raise _Unusable(NO_OTHER)
        return None
    try:
        found = vocabulary.prompt(example.counterfactual, example.messages is not None)
        if len(found) != length:
            raise _Unusable(UNEQUAL, lambda: f"{length} tokens, its counterfactual {len(found)}")
    except _Unusable:
        if needed:
            raise
        return None
    return found


def _shared(answers: list[list[int]]) -> int:
    """How many first tokens all answers have in common, each keeping one at least: they ask nothing. Most often one,
    the space before a number, where a vocabulary has digits only without it."""
    shortest = min(map(len, answers))
    return next((i for i in range(shortest - 1) if len({ids[i] for ids in answers}) > 1), shortest - 1)


def _side(
    example: Example, answers: Sequence[str], vocabulary: _Vocabulary, left_out: dict[str, str]
) -> list[list[int]]:
    """The tokens of those answers that can be read; _Unusable, with the first reason, if none can."""
    found: list[list[int]] = []
    refused: dict[str, _Unusable] = {}
    for answer in answers:
        try:
            found.append(vocabulary.answer(example, answer))
        except _Unusable as reason:
            refused[answer] = reason
    if not found:
        raise next(iter(refused.values()))
    left_out.update((answer, str(reason)) for answer, reason in refused.items())
    return [list(ids) for ids in dict.fromkeys(map(tuple, found))]


def _pair(example: Example, vocabulary: _Vocabulary) -> Row:
    assert example.sentences is not None
    good, bad = (vocabulary.ids(sentence) for sentence in example.sentences)
    shared = next((i for i, (a, b) in enumerate(zip(good, bad, strict=False)) if a != b), min(len(good), len(bad)))
    if shared == 0:
        raise _Unusable(NO_PREFIX)
    # Before anything else: two unknown words look alike, so that where the sentences part is not known either.
    if vocabulary.unknown in good[:shared]:
        raise _Unusable(UNKNOWN_PROMPT)
    if shared in (len(good), len(bad)):
        raise _Unusable(NO_SPLIT)
    prompt, correct, wrong = good[:shared], good[shared], bad[shared]
    if vocabulary.unknown in (correct, wrong):
        raise _Unusable(UNKNOWN_ANSWER)
    vocabulary.check_known([*prompt, correct, wrong])
    # Decoded one by one, a sentence-piece token would lose the space in front of it.
    text = vocabulary.decode(prompt)
    answers = ((vocabulary.decode([*prompt, token]).removeprefix(text),) for token in (correct, wrong))
    asked = replace(example, prompt=text, **dict(zip(("correct", "wrong"), answers, strict=True)))
    opened = vocabulary.opened(prompt, chat=False)
    room = vocabulary.reading.positions
    if room is not None and len(opened) > room:
        raise _Unusable(TOO_LONG, lambda: f"{len(opened)} tokens; the model takes {room}")
    return Row(asked, opened, None, [[correct]], [[wrong]])
