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
from typing import Any

import torch
from torch import Tensor

from discogp.errors import TaskError
from discogp.tasks.base import Example
from discogp.tasks.encoded import Prompts

MULTI_TOKEN = "an answer is more than one token"
GLUED = "an answer without its leading space would run into the prompt's last word"
UNKNOWN_ANSWER = "an answer is not in the tokenizer's vocabulary"
UNKNOWN_PROMPT = "a prompt has words that are not in the tokenizer's vocabulary"
SAME_TOKEN = "a correct and a wrong answer are the same token"
UNEQUAL = "prompt and counterfactual differ in their number of tokens"
NO_PREFIX = "the two sentences share no first token, so there is no prompt"
NO_SPLIT = "one sentence is the beginning of the other, so there is no wrong answer"


@dataclass(frozen=True, eq=False, slots=True)
class Encoded:
    """Prompts and, by reason, how many examples could not be used.

    `answers_left_out`: by reason, how many different answers were left out of examples that have others.
    """

    prompts: Prompts
    dropped: dict[str, int]
    answers_left_out: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Row:
    """One encoded example; no beginning-of-sequence token yet."""

    example: Example
    prompt: list[int]
    counterfactual: list[int] | None
    correct: list[int]
    wrong: list[int]


class _Unusable(Exception):
    """An example or an answer that the tokenizer cannot express; the message is the reason that is counted."""


def encode(examples: Iterable[Example], tokenizer: Any, bos_id: int | None) -> Encoded:
    """Token ids of the examples, `bos_id` (if given) in front of every prompt.

    Dropped, and counted by reason: answers of more than one token, answers glued to the prompt for want of a leading
    space, words unknown to the tokenizer, a correct and a wrong answer that are one token, counterfactuals of another
    length. Of several correct or several wrong answers, those that do not fit are left out, and the example is dropped
    when a side has none left. A pair of sentences is cut at the first token in which they differ, and its example then
    says the prompt and the answers that the model is asked. If any example has no counterfactual, the result has none.
    TaskError if nothing is left.
    """
    examples = tuple(examples)
    vocabulary = _Vocabulary(tokenizer)
    vocabulary.read(_texts(examples))
    vocabulary.read(_answers_in_context(examples, vocabulary))
    kept: list[_Row] = []
    dropped: Counter[str] = Counter()
    left_out: dict[str, str] = {}
    for example in examples:
        try:
            kept.append(
                _row(example, vocabulary, left_out) if example.sentences is None else _pair(example, vocabulary)
            )
        except _Unusable as reason:
            dropped[str(reason)] += 1
    if not kept:
        why = "; ".join(f"{count} × {reason}" for reason, count in dropped.items()) or "there were none"
        raise TaskError(
            f"none of the {len(examples)} examples can be used with this tokenizer ({why}); "
            "choose another task or model"
        )
    bos = [] if bos_id is None else [bos_id]
    padding = 0 if bos_id is None else bos_id
    prompts = [bos + row.prompt for row in kept]
    others = [bos + row.counterfactual for row in kept if row.counterfactual is not None]
    return Encoded(
        prompts=Prompts(
            tokens=_pad(prompts, padding),
            lengths=torch.tensor([len(prompt) for prompt in prompts], dtype=torch.long),
            counterfactual=_pad(others, padding) if len(others) == len(kept) else None,
            correct=_pad([row.correct for row in kept], -1),
            wrong=_pad([row.wrong for row in kept], -1),
            examples=tuple(row.example for row in kept),
        ),
        dropped=dict(dropped),
        answers_left_out=dict(Counter(left_out.values())),
    )


class _Vocabulary:
    """Texts to ids, each text asked once. Special tokens are never added: with them, every answer would begin (or
    even be) the same token."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: dict[str, list[int]] = {}
        # Some byte-level tokenizers name an ordinary special token as "unknown" and never produce it: harmless here.
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

    def answer(self, prompt: str, answer: str) -> int:
        """The one token that `answer` is after `prompt`; _Unusable if it is not one."""
        # Digits may continue a number ("17" + "34"); a letter after a letter only means that the space was forgotten.
        if answer[:1].isalpha() and prompt[-1:].isalpha():
            raise _Unusable(GLUED)
        before = self.context(prompt)
        start, ids = self.ids(before), self.ids(before + answer)
        if ids[: len(start)] != start or len(ids) != len(start) + 1:
            raise _Unusable(MULTI_TOKEN)
        if ids[-1] == self.unknown:
            raise _Unusable(UNKNOWN_ANSWER)
        return ids[-1]

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
            yield from (before + answer for answer in (*example.correct, *example.wrong))


def _row(example: Example, vocabulary: _Vocabulary, left_out: dict[str, str]) -> _Row:
    prompt = vocabulary.ids(example.prompt)
    other = None if example.counterfactual is None else vocabulary.ids(example.counterfactual)
    unknown = vocabulary.unknown
    if unknown is not None and (unknown in prompt or unknown in (other or ())):
        raise _Unusable(UNKNOWN_PROMPT)
    if other is not None and len(other) != len(prompt):
        raise _Unusable(UNEQUAL)
    correct = _side(example.correct, lambda answer: vocabulary.answer(example.prompt, answer), left_out)
    wrong = _side(example.wrong, lambda answer: vocabulary.answer(example.prompt, answer), left_out)
    if set(correct) & set(wrong):
        raise _Unusable(SAME_TOKEN)
    return _Row(example, prompt, other, correct, wrong)


def _side(answers: Sequence[str], token: Callable[[str], int], left_out: dict[str, str]) -> list[int]:
    """The tokens of those answers that are one; _Unusable, with the first reason, if none is."""
    found: list[int] = []
    refused: dict[str, str] = {}
    for answer in answers:
        try:
            found.append(token(answer))
        except _Unusable as reason:
            refused[answer] = str(reason)
    if not found:
        raise _Unusable(next(iter(refused.values())))
    left_out.update(refused)
    return list(dict.fromkeys(found))


def _pair(example: Example, vocabulary: _Vocabulary) -> _Row:
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
    # Decoded one by one, a sentence-piece token would lose the space in front of it.
    text = vocabulary.decode(prompt)
    answers = ((vocabulary.decode([*prompt, token]).removeprefix(text),) for token in (correct, wrong))
    asked = replace(example, prompt=text, **dict(zip(("correct", "wrong"), answers, strict=True)))
    return _Row(asked, prompt, None, [correct], [wrong])


def _pad(rows: list[list[int]], value: int) -> Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([row + [value] * (width - len(row)) for row in rows], dtype=torch.long)
