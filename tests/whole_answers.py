"""Prompts whose answers are several tokens, and what is to be measured on them: text by text, in plain loops.

Nothing of the engine, its measures or its rows is used: every candidate is read off the one pass over prompt + answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from discogp.engine.masked_transformer import MaskedTransformer
from discogp.models.weights import ModelWeights
from discogp.tasks import Example
from discogp.tasks.encoded import Row
from tests.slow_reference import slow_logits


def random_rows(model: MaskedTransformer, n: int, seed: int, equal: bool = False) -> list[Row]:
    """Answers of two tokens each, or of one to three with common beginnings and one the beginning of another.

    Of every third prompt the model's own continuation is right.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int, low: int = 1, high: int = 97) -> list[int]:
        return torch.randint(low, high, (count,), generator=generator).tolist()

    rows: list[Row] = []
    for i in range(n):
        prompt = draw(3 + i % 3)
        other = draw(len(prompt))
        firsts = [int(token) for token in torch.randperm(96, generator=generator)[:5] + 1]
        if equal:
            right, wrong = [[firsts[0], *draw(1)]], [[firsts[1], *draw(1)], [firsts[0], 0]]
        else:
            # Two right answers begin alike; a wrong one goes on where a right one ends; another begins like it.
            right = [[firsts[0], firsts[1]], [firsts[0], firsts[2], *draw(1)], [firsts[3]]][: 1 + (i + 1) % 3]
            wrong = [[*right[0], *draw(1)], [firsts[0], firsts[4]], [firsts[4]]][: 2 + i % 2]
        if i % 3 == 0:
            said: list[int] = []
            for _ in right[0]:
                said.append(int(model.logits(torch.tensor([prompt + said]))[0, -1].argmax()))
            right[0] = said
        example = Example(f"{seed} {i}", None, (" a",), (" b",))
        rows.append(Row(example, prompt, other, right, wrong))
    return rows


@dataclass
class Said:
    """What one model says of one row: log-probabilities of its answers, its own text, and predictions on the way."""

    right: list[Tensor]
    wrong: list[Tensor]
    top: list[int]
    on_the_way: list[list[Tensor]] = field(default_factory=list)
    """Of every right answer, the log-probabilities [V] of the vocabulary before each of its tokens."""

    def is_right(self) -> bool:
        return bool(max(self.right) > max(self.wrong))

    def difference(self) -> Tensor:
        return torch.stack(self.right).mean() - torch.stack(self.wrong).mean()

    def first_is_right(self, row: Row) -> bool:
        return any(self.top[: len(answer)] == answer for answer in row.correct)

    def as_far_as(self, row: Row) -> tuple[int, ...]:
        """Its own text up to the first token after which no answer goes on."""
        goes_on = {tuple(a[:n]) for a in (*row.correct, *row.wrong) for n in range(len(a))}
        for n in range(len(self.top)):
            if tuple(self.top[:n]) not in goes_on:
                return tuple(self.top[:n])
        return tuple(self.top)

    def kl_from(self, full: Said) -> Tensor:
        found = []
        for ours, theirs in zip(self.on_the_way, full.on_the_way, strict=True):
            found.append(sum((p.exp() * (p - q)).sum() for p, q in zip(theirs, ours, strict=True)))
        return torch.stack([torch.as_tensor(kl) for kl in found]).mean()

    def task_loss(self) -> Tensor:
        right, wrong = (torch.stack(side).exp().sum() for side in (self.right, self.wrong))
        return -(right / (right + wrong)).log()

    def completeness_loss(self) -> Tensor:
        right, wrong = (torch.stack(side).exp().sum() for side in (self.right, self.wrong))
        share = right / (right + wrong)
        return -0.5 * share.log() - 0.5 * (1 - share).log()


Logits = Callable[[list[int], "list[int] | None"], Tensor]
"""(text, counterfactual text) -> logits [t, V]."""


def said(logits: Logits, row: Row) -> Said:
    def answered(answer: list[int]) -> list[Tensor]:
        other = None if row.counterfactual is None else row.counterfactual + answer
        found = logits(row.prompt + answer, other).log_softmax(-1)
        return [found[len(row.prompt) - 1 + place] for place in range(len(answer))]

    def score(answer: list[int]) -> Tensor:
        return torch.stack([p[token] for p, token in zip(answered(answer), answer, strict=True)]).sum()

    top: list[int] = []
    for _ in range(max(map(len, (*row.correct, *row.wrong)))):
        other = None if row.counterfactual is None else row.counterfactual + top
        top.append(int(logits(row.prompt + top, other)[-1].argmax()))
    right, wrong = ([score(answer) for answer in answers] for answers in (row.correct, row.wrong))
    return Said(right, wrong, top, [answered(answer) for answer in row.correct])


class Slow:
    """A model that keeps some of its edges (names, or shares of them), on some weights, under an ablation."""

    def __init__(
        self, model: MaskedTransformer, rows: Sequence[Row], ablation: str = "zero", weights: ModelWeights | None = None
    ) -> None:
        self.graph, self.ablation, self.weights = model.graph, ablation, weights or model.weights
        self.every = {edge.name for edge in model.graph.edges}
        self.means: dict[str, Tensor] = {}
        if ablation == "mean":  # over the prompts' own tokens
            found = [self.written(row.prompt) for row in rows]
            self.means = {name: torch.cat([of[name][0] for of in found]).mean(0).expand(1, 1, -1) for name in found[0]}

    def written(self, text: list[int]) -> dict[str, Tensor]:
        written: dict[str, Tensor] = {}
        slow_logits(self.weights, self.graph, self.every, torch.tensor([text]), written=written)
        return written

    def keeping(self, kept: set[str] | dict[str, Tensor]) -> Logits:
        def logits(text: list[int], other: list[int] | None) -> Tensor:
            replacements = self.means or None
            if self.ablation == "resample":
                assert other is not None
                replacements = self.written(other)
            return slow_logits(self.weights, self.graph, kept, torch.tensor([text]), replacements)[0]

        return logits

    def full(self) -> Logits:
        return lambda text, _: slow_logits(self.weights, self.graph, self.every, torch.tensor([text]))[0]
