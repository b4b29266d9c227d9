"""From examples to token ids: right-padded prompts, one token per answer, nothing dropped without a count.

Axes: batch b, position t, candidate c. Answers are read off in context: the tokens of prompt + answer must be the
prompt's tokens and exactly one more. This is right for every kind of tokenizer (byte-level, sentence-piece, whole
word) and never sees a beginning-of-sequence token, which some tokenizers put in front of every text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from discogp.errors import TaskError
from discogp.tasks.base import Example

MULTI_TOKEN = "an answer is more than one token"
GLUED = "an answer without its leading space would run into the prompt's last word"
UNKNOWN_ANSWER = "an answer is not in the tokenizer's vocabulary"
UNKNOWN_PROMPT = "a prompt has words that are not in the tokenizer's vocabulary"
SAME_TOKEN = "a correct and a wrong answer are the same token"
UNEQUAL = "prompt and counterfactual differ in their number of tokens"


@dataclass(frozen=True, eq=False, slots=True)
class Prompts:
    """Encoded prompts, all on one device.

    tokens Long[b, t], right-padded (padding is never read: models are causal and `lengths` ends each prompt);
    lengths Long[b], at least 1; counterfactual Long[b, t] with the same lengths, or None if an example has none;
    correct Long[b, c] and wrong Long[b, w], one token id per answer, -1 as padding; examples, b of them.
    """

    tokens: Tensor
    lengths: Tensor
    counterfactual: Tensor | None
    correct: Tensor
    wrong: Tensor
    examples: tuple[Example, ...]

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def last(self) -> Tensor:
        """Long[b]: the position whose logits predict the answer."""
        return self.lengths - 1

    @property
    def n_candidates(self) -> int:
        """Most answers, correct and wrong together, that one prompt has."""
        return int(((self.correct >= 0).sum(1) + (self.wrong >= 0).sum(1)).max())

    def subset(self, indices: Sequence[int] | Tensor) -> Prompts:
        """Those prompts in that order, with padding cut to the longest of them. IndexError outside the range."""
        chosen = [int(i) for i in indices]
        rows = torch.tensor(chosen, dtype=torch.long, device=self.tokens.device)
        lengths = self.lengths[rows]
        width = int(lengths.max()) if chosen else 0
        return Prompts(
            tokens=self.tokens[rows, :width],
            lengths=lengths,
            counterfactual=None if self.counterfactual is None else self.counterfactual[rows, :width],
            correct=self.correct[rows],
            wrong=self.wrong[rows],
            examples=tuple(self.examples[i] for i in chosen),
        )

    def to(self, device: torch.device | str) -> Prompts:
        """The same prompts on another device."""
        moved = None if self.counterfactual is None else self.counterfactual.to(device)
        return Prompts(
            self.tokens.to(device),
            self.lengths.to(device),
            moved,
            self.correct.to(device),
            self.wrong.to(device),
            self.examples,
        )

    def batches(self, size: int) -> Iterator[Prompts]:
        """Consecutive parts of at most `size` prompts."""
        if size < 1:
            raise TaskError(f"a batch of {size} prompts cannot be made; give at least 1")
        for start in range(0, len(self), size):
            yield self.subset(range(start, min(start + size, len(self))))


@dataclass(frozen=True, eq=False, slots=True)
class Encoded:
    """Prompts and, by reason, how many examples could not be used."""

    prompts: Prompts
    dropped: dict[str, int]


class _Unusable(Exception):
    """An example the tokenizer cannot express; the message is the reason that is counted."""


def encode(examples: Iterable[Example], tokenizer: Any, bos_id: int | None) -> Encoded:
    """Token ids of the examples, `bos_id` (if given) in front of every prompt.

    Dropped, and counted by reason: answers of more than one token, answers glued to the prompt for want of a leading
    space, words unknown to the tokenizer, a correct and a wrong answer that are one token, counterfactuals of another
    length. If any example has no counterfactual, the result has none. TaskError if nothing is left.
    """
    kept: list[tuple[Example, list[int], list[int] | None, list[int], list[int]]] = []
    dropped: Counter[str] = Counter()
    total = 0
    for example in examples:
        total += 1
        try:
            kept.append((example, *_encode_one(example, tokenizer)))
        except _Unusable as reason:
            dropped[str(reason)] += 1
    if not kept:
        why = "; ".join(f"{count} × {reason}" for reason, count in dropped.items()) or "there were none"
        raise TaskError(
            f"none of the {total} examples can be used with this tokenizer ({why}); choose another task or model"
        )
    bos = [] if bos_id is None else [bos_id]
    prompts = [bos + row[1] for row in kept]
    others = [row[2] for row in kept]
    padding = 0 if bos_id is None else bos_id
    return Encoded(
        prompts=Prompts(
            tokens=_pad(prompts, padding),
            lengths=torch.tensor([len(prompt) for prompt in prompts], dtype=torch.long),
            counterfactual=None
            if any(other is None for other in others)
            else _pad([bos + other for other in others if other is not None], padding),
            correct=_pad([row[3] for row in kept], -1),
            wrong=_pad([row[4] for row in kept], -1),
            examples=tuple(row[0] for row in kept),
        ),
        dropped=dict(dropped),
    )


def _ids(tokenizer: Any, text: str) -> list[int]:
    # Special tokens are never added here: with them, every answer would begin (or even be) the same token.
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _encode_one(example: Example, tokenizer: Any) -> tuple[list[int], list[int] | None, list[int], list[int]]:
    unknown = getattr(tokenizer, "unk_token_id", None)
    # Some byte-level tokenizers name an ordinary special token as "unknown" and never produce it: harmless here.
    prompt = _ids(tokenizer, example.prompt)
    other = None if example.counterfactual is None else _ids(tokenizer, example.counterfactual)
    if unknown is not None and (unknown in prompt or unknown in (other or ())):
        raise _Unusable(UNKNOWN_PROMPT)
    if other is not None and len(other) != len(prompt):
        raise _Unusable(UNEQUAL)
    correct = [_answer(example.prompt, prompt, answer, tokenizer, unknown) for answer in example.correct]
    wrong = [_answer(example.prompt, prompt, answer, tokenizer, unknown) for answer in example.wrong]
    if set(correct) & set(wrong):
        raise _Unusable(SAME_TOKEN)
    return prompt, other, correct, wrong


def _answer(prompt: str, prompt_ids: list[int], answer: str, tokenizer: Any, unknown: int | None) -> int:
    # Digits may continue a number ("17" + "34"); a letter after a letter only means that the space was forgotten.
    if answer[:1].isalpha() and prompt[-1:].isalpha():
        raise _Unusable(GLUED)
    ids = _ids(tokenizer, prompt + answer)
    if ids[: len(prompt_ids)] != prompt_ids or len(ids) != len(prompt_ids) + 1:
        raise _Unusable(MULTI_TOKEN)
    if ids[-1] == unknown:
        raise _Unusable(UNKNOWN_ANSWER)
    return ids[-1]


def _pad(rows: list[list[int]], value: int) -> Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([row + [value] * (width - len(row)) for row in rows], dtype=torch.long)
