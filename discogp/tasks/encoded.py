"""Prompts as a model sees them: token ids, and where answers are read off. Axes: prompt b, position t, candidate c."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from discogp.errors import TaskError
from discogp.tasks.base import Example


@dataclass(frozen=True, slots=True)
class Row:
    """One example in token ids: its prompt with the opening token, a counterfactual of the same length or None, and
    each right and each wrong answer, of one token or of several."""

    example: Example
    prompt: list[int]
    counterfactual: list[int] | None
    correct: list[list[int]]
    wrong: list[list[int]]


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

    @classmethod
    def of(cls, rows: Sequence[Row], padding: int) -> Prompts:
        """The rows as tensors; padding is the id that fills prompts up."""
        others = [row.counterfactual for row in rows if row.counterfactual is not None]
        return cls(
            tokens=_pad([row.prompt for row in rows], padding),
            lengths=torch.tensor([len(row.prompt) for row in rows], dtype=torch.long),
            counterfactual=_pad(others, padding) if len(others) == len(rows) else None,
            correct=_pad([[ids[0] for ids in row.correct] for row in rows], -1),
            wrong=_pad([[ids[0] for ids in row.wrong] for row in rows], -1),
            examples=tuple(row.example for row in rows),
        )

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def last(self) -> Tensor:
        """Long[b]: the position whose logits predict the answer."""
        return self.lengths - 1

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


def _pad(rows: list[list[int]], value: int) -> Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([row + [value] * (width - len(row)) for row in rows], dtype=torch.long)
