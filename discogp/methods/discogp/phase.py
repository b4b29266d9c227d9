"""What a search phase is: one kind of mask, taught step by step.

A step is `begin` (draw its masks), `accumulate` once for every part of the batch, and `update`. Losses are means over
prompts, so a part counts with its share of them, and the sum over parts is the gradient of the whole batch: the mask
drawn is the same for all. Between the last part and the update, several processes can add up what they have. The
completeness loss may be taken on some prompts of the batch alone, which are chosen in the whole batch, however it is
shared out.
L = L_faithful + λ_c·L_complete + λ_s·L_sparse (arXiv 2407.03779, equations 5–8).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discogp.methods.discogp.settings import PhaseConfig
from discogp.tasks.encoded import Prompts

Rows = slice | list[int]
"""Some of the rows of a batch."""


@dataclass(frozen=True)
class Losses:
    """Means over the prompts of a batch, or of a part of one, in nats. Scalars, left on their device."""

    faithfulness: Tensor
    completeness: Tensor

    @classmethod
    def none(cls, device: torch.device) -> Losses:
        """Those of no prompts, to add to."""
        return cls(torch.zeros((), device=device), torch.zeros((), device=device))

    def scaled(self, share: float, checked: float) -> Losses:
        return Losses(self.faithfulness * share, self.completeness * checked)

    def __add__(self, other: Losses) -> Losses:
        return Losses(self.faithfulness + other.faithfulness, self.completeness + other.completeness)


@dataclass(frozen=True)
class StepReport:
    """Losses of one step (nats; sparsity: expected density, 0–1)."""

    faithfulness: float
    completeness: float
    sparsity: float


@dataclass(frozen=True)
class Thresholded:
    """The thresholded masks at some step: plain data, cheap to keep. Edge logits [E]."""

    edge_mask: NDArray[np.bool_]
    edge_logits: NDArray[np.float32] | None
    weight_masks: Mapping[str, NDArray[np.bool_]] | None


@dataclass(frozen=True)
class Checked:
    """The prompts of a part of a batch that the completeness loss is taken on.

    `places`: theirs in the part; `share`: theirs of all such prompts of the batch, 0–1.
    """

    places: tuple[int, ...]
    share: float

    @classmethod
    def of_batch(cls, size: int, share: float, of_all: float = 1.0) -> Checked:
        """Evenly spaced through a batch, `share` of it, but never none; `of_all`: the batch's share of a larger one."""
        n = max(1, round(size * share)) if size else 0
        return cls(tuple(i * size // n for i in range(n)), of_all)

    def within(self, places: Sequence[int]) -> Checked:
        """Those of them that stand at these places, one after the other, as the places of a part that begins there."""
        chosen = tuple(i - places[0] for i in self.places if i in places)
        return Checked(chosen, self.share * len(chosen) / max(1, len(self.places)))

    def of(self, part: Prompts) -> Prompts:
        """These prompts of the part."""
        return part if len(self.places) == len(part) else part.subset(self.places)


class Phase(ABC):
    """One kind of mask under search."""

    name: ClassVar[str]
    config: PhaseConfig
    micro_batch: int
    """Prompts that go through the model at once; 0: the whole batch."""
    logits: Tensor
    """The mask logits, which `optimizer` moves."""
    optimizer: torch.optim.Optimizer

    @abstractmethod
    def begin(self, step: int) -> None:
        """Draw the masks of a step (from 0) and forget the gradients of the one before."""

    @abstractmethod
    def accumulate(
        self, batch: Prompts, full_log_probs: Tensor | None, share: float, checked: Checked | None = None
    ) -> Losses:
        """Kept and complement pass on a part of the batch; adds `share` (0–1) of its gradients. The part's losses.

        `full_log_probs` [r, V]: the full model's on the batch's rows, where the objective needs them. `checked`: the
        part's prompts that the complement runs on; by default all of them, with the same share.
        """

    @abstractmethod
    def gradients(self) -> list[Tensor]:
        """What has been accumulated, one tensor a mask; whoever adds to them in place changes the update."""

    @abstractmethod
    def update(self, step: int) -> float:
        """Slope of the samples, sparsity term, optimizer. The expected density, 0–1, before the update."""

    @abstractmethod
    def thresholded(self) -> Thresholded: ...

    def state(self) -> dict[str, Any]:
        """All that a later `load_state` needs to go on as if nothing had happened; tensors are not copies."""
        return {"logits": self.logits.detach(), "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        with torch.no_grad():
            self.logits.copy_(state["logits"])
        self.optimizer.load_state_dict(dict(state["optimizer"]))

    def step(
        self,
        batch: Prompts,
        full_log_probs: Tensor | None,
        step: int,
        reduce: Callable[[list[Tensor]], None] = lambda tensors: None,
        of: int | None = None,
        checked: Checked | None = None,
    ) -> StepReport:
        """One optimiser step, `micro_batch` prompts at a time.

        With several processes, `batch` is this one's part of a batch of `of` prompts, `checked` what it holds of the
        prompts chosen for the completeness loss (by default as many of every part), and `reduce` adds tensors up over
        all of them, in place.
        """
        self.begin(step)
        total = of or len(batch)
        if checked is None:
            checked = Checked.of_batch(len(batch), self.config.completeness_share, len(batch) / total)
        losses = Losses.none(batch.tokens.device)
        for part, rows, places in parts(batch, self.micro_batch):
            share, mine = len(part) / total, checked.within(places)
            known = None if full_log_probs is None else full_log_probs[rows]
            losses = losses + self.accumulate(part, known, share, mine).scaled(share, mine.share)
        figures = torch.stack([losses.faithfulness, losses.completeness])
        reduce([*self.gradients(), figures])
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate_at(step)
        density = self.update(step)
        faithfulness, completeness = figures.tolist()
        return StepReport(faithfulness, completeness, density)


def parts(batch: Prompts, size: int) -> Iterator[tuple[Prompts, Rows, range]]:
    """Consecutive parts of at most `size` prompts (0: all in one), their rows and places in the batch; none of none."""
    step = size or max(len(batch), 1)
    for start in range(0, len(batch), step):
        places = range(start, min(start + step, len(batch)))
        if len(places) == len(batch):
            yield batch, slice(None), places
        else:
            rows = slice(start, places.stop) if batch.steps is None else batch.rows_of(places)
            yield batch.subset(places), rows, places


def adamw(parameters: list[Tensor], config: PhaseConfig) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
