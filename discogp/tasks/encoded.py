"""Prompts as a model sees them: token ids, and where answers are read off.

Axes: prompt b, row r, position t, candidate k (right answers c, then wrong ones w). Every pass of a model predicts one
token a row. Where all answers are one token, the rows are the prompts. An answer of several tokens is predicted in as
many rows: the prompt, and the prompt with each beginning of the answer behind it. Beginnings that several candidates
of a prompt share are one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from discogp.errors import TaskError
from discogp.tasks.base import Example


@dataclass(frozen=True, slots=True)
class Row:
    """One example in token ids: the prompt with its opening token, a counterfactual of the same length or None, and
    the tokens of every right and every wrong answer."""

    example: Example
    prompt: list[int]
    counterfactual: list[int] | None
    correct: list[list[int]]
    wrong: list[list[int]]

    @property
    def length(self) -> int:
        """Tokens of the longest text that the model is given: no answer's last token is."""
        return len(self.prompt) + max(len(answer) for answer in (*self.correct, *self.wrong)) - 1

    @property
    def settled(self) -> bool | None:
        """What must come out whatever the model says, since no text is likelier than its own beginning: False where a
        wrong answer is the beginning of every right one, True the other way round, else None."""
        for side, other, verdict in ((self.wrong, self.correct, False), (self.correct, self.wrong, True)):
            if any(all(answer[: len(start)] == start for answer in other) for start in side):
                return verdict
        return None


@dataclass(frozen=True, eq=False, slots=True)
class Steps:
    """How answers of several tokens are read off rows.

    `ids` Long[r, k]: the token of candidate k of the row's prompt that this row predicts, −1 if it predicts none of it;
    `extra`: how many rows each prompt has beside its own; `answers`: the tokens of every answer there is, in which
    `Prompts.correct` and `Prompts.wrong` count.
    """

    ids: Tensor
    extra: tuple[int, ...]
    answers: tuple[tuple[int, ...], ...]

    def table(self) -> Tensor:
        """Long[b, most rows of a prompt]: every prompt's rows, its own first, −1 as padding."""
        n = len(self.extra)
        found: list[list[int]] = []
        start = n
        for prompt, more in enumerate(self.extra):
            found.append([prompt, *range(start, start + more)])
            start += more
        return _pad(found, -1).to(self.ids.device) if found else self.ids.new_empty(0, 0)


@dataclass(frozen=True, eq=False, slots=True)
class Prompts:
    """Encoded prompts, all on one device.

    tokens Long[r, t], right-padded (padding is never read: models are causal and `lengths` ends each row);
    lengths Long[r], at least 1; counterfactual Long[r, t] with the same lengths, or None if an example has none;
    correct Long[b, c] and wrong Long[b, w], −1 as padding; examples, b of them.

    With `steps` None every answer is one token, `correct` and `wrong` are token ids, and row i is prompt i. With steps
    the prompts are the first b rows, behind them come those of the first prompt's answers, then the second's, and
    `correct` and `wrong` are places in `steps.answers`.
    """

    tokens: Tensor
    lengths: Tensor
    counterfactual: Tensor | None
    correct: Tensor
    wrong: Tensor
    examples: tuple[Example, ...]
    steps: Steps | None = None

    @classmethod
    def of(cls, rows: Sequence[Row], padding: int = 0) -> Prompts:
        """Prompts of at least one row. TaskError for an answer without tokens or a counterfactual of another length."""
        for row in rows:
            _check(row)
        if all(len(answer) == 1 for row in rows for answer in (*row.correct, *row.wrong)):
            return cls._encoded(
                [(row.prompt, row.counterfactual) for row in rows],
                [[[answer[0] for answer in side] for side in (row.correct, row.wrong)] for row in rows],
                rows,
                padding,
            )
        answers: dict[tuple[int, ...], int] = {}
        places = [
            [[answers.setdefault(tuple(answer), len(answers)) for answer in side] for side in (row.correct, row.wrong)]
            for row in rows
        ]
        n_right = max(len(row.correct) for row in rows)
        n = n_right + max(len(row.wrong) for row in rows)
        beginnings = [_beginnings(row, n_right, n) for row in rows]
        own = [((), found.pop(())) for found in beginnings]
        behind = [list(found.items()) for found in beginnings]
        texts = [(row.prompt, row.counterfactual) for row in rows]
        for row, found in zip(rows, behind, strict=True):
            other = row.counterfactual
            texts += [([*row.prompt, *start], None if other is None else [*other, *start]) for start, _ in found]
        ids = [ids for _, ids in (*own, *(item for found in behind for item in found))]
        steps = Steps(torch.tensor(ids, dtype=torch.long), tuple(map(len, behind)), tuple(answers))
        return replace(cls._encoded(texts, places, rows, padding), steps=steps)

    @classmethod
    def _encoded(
        cls,
        texts: Sequence[tuple[list[int], list[int] | None]],
        answers: Sequence[list[list[int]]],
        rows: Sequence[Row],
        padding: int,
    ) -> Prompts:
        others = [other for _, other in texts if other is not None]
        return cls(
            tokens=_pad([text for text, _ in texts], padding),
            lengths=torch.tensor([len(text) for text, _ in texts], dtype=torch.long),
            counterfactual=_pad(others, padding) if len(others) == len(texts) else None,
            correct=_pad([right for right, _ in answers], -1),
            wrong=_pad([wrong for _, wrong in answers], -1),
            examples=tuple(row.example for row in rows),
        )

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def n_rows(self) -> int:
        """How many rows go through the model; as many as there are prompts where all answers are one token."""
        return len(self.tokens)

    @property
    def last(self) -> Tensor:
        """Long[r]: the position whose logits predict the row's token."""
        return self.lengths - 1

    @property
    def asked(self) -> Prompts:
        """The prompts alone, without any answer's beginning; of every answer its first token is left."""
        if self.steps is None:
            return self
        lengths = self.lengths[: len(self)]
        width = int(lengths.max()) if len(self) else 0
        n_right = self.correct.shape[1]
        firsts = self.steps.ids[: len(self)]
        other = None if self.counterfactual is None else self.counterfactual[: len(self), :width]
        return Prompts(
            self.tokens[: len(self), :width], lengths, other, firsts[:, :n_right], firsts[:, n_right:], self.examples
        )

    def answers(self, place: int, side: str) -> list[list[int]]:
        """The token ids of one prompt's answers, of the side "correct" or "wrong"."""
        ids = getattr(self, side)[place].tolist()
        return [[i] if self.steps is None else list(self.steps.answers[i]) for i in ids if i >= 0]

    def rows_of(self, indices: Iterable[int]) -> list[int]:
        """The rows of those prompts, in the order in which their `subset` has them."""
        if self.steps is None:
            return list(indices)
        chosen = [range(len(self))[i] for i in indices]
        starts = [len(self)]
        for more in self.steps.extra:
            starts.append(starts[-1] + more)
        return chosen + [row for i in chosen for row in range(starts[i], starts[i] + self.steps.extra[i])]

    def most_rows(self, n: int) -> int:
        """The most rows that `n` of the prompts can have."""
        extra = () if self.steps is None else sorted(self.steps.extra, reverse=True)[:n]
        return min(n, len(self)) + sum(extra)

    def subset(self, indices: Sequence[int] | Tensor) -> Prompts:
        """Those prompts in that order, with padding cut to the longest of them. IndexError outside the range."""
        chosen = [int(i) for i in indices]
        places = torch.tensor(chosen, dtype=torch.long, device=self.tokens.device)
        rows, steps = places, None
        if self.steps is not None:
            rows = torch.tensor(self.rows_of(chosen), dtype=torch.long, device=self.tokens.device)
            extra = tuple(self.steps.extra[i] for i in chosen)
            steps = Steps(self.steps.ids[rows], extra, self.steps.answers)
        lengths = self.lengths[rows]
        width = int(lengths.max()) if chosen else 0
        return Prompts(
            tokens=self.tokens[rows, :width],
            lengths=lengths,
            counterfactual=None if self.counterfactual is None else self.counterfactual[rows, :width],
            correct=self.correct[places],
            wrong=self.wrong[places],
            examples=tuple(self.examples[i] for i in chosen),
            steps=steps,
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
            None if self.steps is None else replace(self.steps, ids=self.steps.ids.to(device)),
        )

    def batches(self, size: int) -> Iterator[Prompts]:
        """Consecutive parts of at most `size` rows, or one prompt where that has more."""
        if size < 1:
            raise TaskError(f"a batch of {size} prompts cannot be made; give at least 1")
        extra = (0,) * len(self) if self.steps is None else self.steps.extra
        start = rows = 0
        for prompt, more in enumerate(extra):
            if prompt > start and rows + 1 + more > size:
                yield self.subset(range(start, prompt))
                start, rows = prompt, 0
            rows += 1 + more
        if len(self):
            yield self.subset(range(start, len(self)))

    def row_batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(tokens, last) of at most `size` consecutive rows, with padding cut to the longest of them."""
        for start in range(0, self.n_rows, size):
            last = self.last[start : start + size]
            yield self.tokens[start : start + size, : int(last.max()) + 1], last


def _check(row: Row) -> None:
    if not all((row.correct, row.wrong, *row.correct, *row.wrong)):
        raise TaskError(
            f"the prompt {row.example.prompt!r} has an answer without tokens; give it a text or leave it out"
        )
    if row.counterfactual is not None and len(row.counterfactual) != len(row.prompt):
        raise TaskError(
            f"the prompt {row.example.prompt!r} has {len(row.prompt)} tokens and its counterfactual "
            f"{len(row.counterfactual)}; they must be of one length, or leave the counterfactual out"
        )


def _beginnings(row: Row, n_right: int, n: int) -> dict[tuple[int, ...], list[int]]:
    """Every beginning of a candidate, the empty one first -> the token [n] with which each candidate goes on there."""
    found: dict[tuple[int, ...], list[int]] = {(): [-1] * n}
    for side, first in ((row.correct, 0), (row.wrong, n_right)):
        for candidate, answer in enumerate(side, first):
            for step, token in enumerate(answer):
                found.setdefault(tuple(answer[:step]), [-1] * n)[candidate] = token
    return found


def _pad(rows: Sequence[list[int]], value: int) -> Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([row + [value] * (width - len(row)) for row in rows], dtype=torch.long)
