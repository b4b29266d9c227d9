"""The search over edges: a mask over readers and sources, on weights that are held fixed.

Axes: reader r (R), source s (P), batch b. Both losses of a step use one sample of the mask, m for the kept pass and
1−m for the complement. The mask is a leaf of those passes; the slope of the relaxed sample and the sparsity term's
gradient, both known in closed form, are applied afterwards, so no graph is kept over the mask logits. Mask logits are
fp32 whatever the model is. Source: arXiv 2407.03779, equations 3–8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discogp.engine.folded import FoldedWeights
from discogp.engine.lanes import Lanes
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.engine.masks import apply_weight_masks, edge_matrix, edge_vector
from discogp.engine.replacement import Replacement
from discogp.engine.workspace import Workspace
from discogp.evaluation.candidates import Candidates, asked_ids
from discogp.evaluation.scorer import mean_replacement
from discogp.methods.discogp.losses import completeness_loss, faithfulness_loss, task_cross_entropy
from discogp.methods.discogp.phase import Checked, Losses, Phase, Rows, Thresholded, adamw, parts
from discogp.methods.discogp.sampling import sample
from discogp.methods.discogp.settings import EdgeConfig, SearchConfig
from discogp.tasks.encoded import Prompts
from discogp.terms import Ablation, Objective

# Keep probabilities under which attribution is averaged: the model just broken enough to tell edges apart.
_ATTRIBUTION_KEEP = (1.0, 0.97, 0.93, 0.88, 0.8)
_ATTRIBUTION_PROMPTS = 16

Result = TypeVar("Result")


@dataclass(frozen=True)
class _Side:
    """What a pass runs on: the circuit's weights or, on fewer prompts, the complement's."""

    batch: Prompts
    folded: FoldedWeights
    replacement: Replacement | None
    workspace: Workspace


class EdgePhase(Phase):
    """Mask logits [R, P] over edges, on weights that are held fixed."""

    name = "edges"
    config: EdgeConfig

    def __init__(
        self,
        model: MaskedTransformer,
        train: Prompts,
        search: SearchConfig,
        generator: torch.Generator,
        weight_masks: Mapping[str, NDArray[np.bool_]] | None = None,
    ) -> None:
        self.model, self.config, self.micro_batch = model, search.edges, search.micro_batch
        self.objective: Objective = search.objective
        self.ablation: Ablation = search.ablation
        self.recompute = search.recompute
        self.generator, self.weight_masks = generator, weight_masks
        self.kept, self.reversed = model.folded, model.folded
        if weight_masks is not None:
            kept = {name: torch.tensor(mask, device=model.device) for name, mask in weight_masks.items()}
            self.kept = FoldedWeights.of(apply_weight_masks(model.weights, kept))
            # The complement of "both" reverses both, so it runs on the weights that were not kept.
            reversed_masks = {name: ~mask for name, mask in kept.items()}
            self.reversed = FoldedWeights.of(apply_weight_masks(model.weights, reversed_masks))
        self.graph = model.graph
        self.valid = edge_matrix(self.graph, np.ones(self.graph.n_edges), model.device)
        size = min(search.batch_size, len(train))
        self.lanes = Lanes.for_batch(min(size, self.micro_batch or size), model.device)
        self.workspaces = [Workspace() for _ in range(self.lanes.n)]
        self.means: dict[int, Replacement] = {}
        if self.ablation == "mean":
            batches = list(train.batches(64))
            for folded in {id(self.kept): self.kept, id(self.reversed): self.reversed}.values():
                self.means[id(folded)] = mean_replacement(model, batches, folded)
        self._wanted: Tensor | None = None
        self.logits = self._initial_logits(train)
        self.optimizer = adamw([self.logits], self.config)

    def _initial_logits(self, train: Prompts) -> Tensor:
        config, shape = self.config, self.valid.shape
        noise = torch.randn(shape, generator=self.generator, device=self.valid.device) * config.initial_spread
        logits = config.initial_logit + noise
        if config.attribution_span > 0:
            scores = edge_vector(self.graph, self._attribution(train))
            ranks = np.empty(len(scores))
            ranks[np.argsort(scores, kind="stable")] = np.linspace(0, 1, len(scores))
            logits += config.attribution_span * edge_matrix(self.graph, ranks**3, self.valid.device)
        return logits.requires_grad_()

    def _attribution(self, train: Prompts) -> Tensor:
        """[R, P] mean |dL/d mask| over nearly full random masks: how edges matter while the model still works."""
        batch = train.subset(range(min(_ATTRIBUTION_PROMPTS, len(train))))
        total = torch.zeros_like(self.valid)
        for keep in _ATTRIBUTION_KEEP:
            drawn = torch.rand(self.valid.shape, generator=self.generator, device=self.valid.device)
            mask = (drawn < keep).float() * self.valid

            def run(part: Prompts, _: Rows, __: range, workspace: Workspace, mask: Tensor = mask) -> Tensor:
                leaf = mask.clone().requires_grad_()
                full = self.model.logits(part.tokens, part.last).log_softmax(-1)
                loss = self._faithfulness(leaf, self._kept_side(part, workspace), full) * (len(part) / len(batch))
                return torch.autograd.grad(loss, leaf)[0]

            gradient = torch.zeros_like(mask)
            for part, _, _ in parts(batch, self.micro_batch):
                for found in self._in_lanes(part, run):
                    gradient += found
            total += gradient.abs()
        return total

    def _replacement(self, folded: FoldedWeights, batch: Prompts) -> Replacement | None:
        if self.ablation == "mean":
            return self.means[id(folded)]
        return self.model.replacement(self.ablation, batch.tokens, batch.counterfactual, folded=folded)

    def _faithfulness(self, mask: Tensor, on: _Side, full_log_probs: Tensor | None) -> Tensor:
        if self.objective == "task":
            said = self._candidates(mask, on)
            return task_cross_entropy(said.scores, said.correct, said.wrong)
        return faithfulness_loss(self._logits(mask, on), full_log_probs, on.batch, self.objective)

    def _completeness(self, mask: Tensor, on: _Side) -> Tensor:
        said = self._candidates(self.valid - mask, on)
        return completeness_loss(said.scores, said.correct, said.wrong)

    def _candidates(self, mask: Tensor, on: _Side) -> Candidates:
        """The candidates' scores alone."""
        ids = asked_ids(on.batch)
        logits = self._logits(mask, on, ids)
        return Candidates.of(logits, on.batch) if ids is None else Candidates.of_asked(logits, on.batch)

    def _logits(self, mask: Tensor, on: _Side, ids: Tensor | None = None) -> Tensor:
        """[r, V] at every row's last position, or of the token ids [b, C] alone."""
        return self.model.masked(
            on.batch.tokens,
            mask,
            last=on.batch.last,
            replacement=on.replacement,
            folded=on.folded,
            candidates=ids,
            workspace=on.workspace,
            recompute=self.recompute,
            wanted=self._wanted,
        )

    def _kept_side(self, batch: Prompts, workspace: Workspace) -> _Side:
        return _Side(batch, self.kept, self._replacement(self.kept, batch), workspace)

    def _reversed_side(self, kept: _Side, checked: Checked) -> _Side:
        """The complement's, on the checked prompts of the batch."""
        some = checked.of(kept.batch)
        if self.reversed is self.kept and kept.replacement is not None:
            replacement = kept.replacement.on(kept.batch.rows_of(checked.places), some.tokens.shape[1])
        else:
            replacement = self._replacement(self.reversed, some)
        return _Side(some, self.reversed, replacement, kept.workspace)

    def begin(self, step: int) -> None:
        logits = self.logits.detach()
        drawn = sample(logits, self.config.temperature, self.config.noise_at(step), self.generator)
        # What is decided is off, in the sample too; a full step tells whether it was decided rightly.
        full = self.config.full_at(step)
        self._open = self.valid if full else self.valid * (logits >= self.config.decided_below)
        self._wanted = None if full else self._open > 0
        self._slope = drawn.slope
        self._mask = drawn.hard * self._open
        self._gradient = torch.zeros_like(self._mask)
        self._completeness_weight = self.config.completeness_at(step)

    def _in_lanes(self, batch: Prompts, run: Callable[[Prompts, Rows, range, Workspace], Result]) -> list[Result]:
        """`run` on parts of a batch side by side, each with a workspace of its own."""
        lanes = list(zip(parts(batch, -(-len(batch) // self.lanes.n)), self.workspaces, strict=False))
        return self.lanes.map(lambda lane: run(*lane[0], lane[1]), lanes)

    def accumulate(
        self, batch: Prompts, full_log_probs: Tensor | None, share: float, checked: Checked | None = None
    ) -> Losses:
        checked = checked or Checked(tuple(range(len(batch))), share)

        def run(part: Prompts, rows: Rows, places: range, workspace: Workspace) -> tuple[Losses, Tensor]:
            known = None if full_log_probs is None else full_log_probs[rows]
            of_batch, mine = len(part) / len(batch), checked.within(places)
            losses, gradient = self._passes(part, known, share * of_batch, mine, workspace)
            return losses.scaled(of_batch, len(mine.places) / max(1, len(checked.places))), gradient

        losses = Losses.none(batch.tokens.device)
        for found, gradient in self._in_lanes(batch, run):
            losses = losses + found
            self._gradient += gradient
        return losses

    def _passes(
        self, batch: Prompts, full_log_probs: Tensor | None, share: float, checked: Checked, workspace: Workspace
    ) -> tuple[Losses, Tensor]:
        """Kept and complement pass; the losses, and their shares of the gradients [R, P]."""
        mask = self._mask.clone().requires_grad_()
        kept = self._kept_side(batch, workspace)
        faithful = self._faithfulness(mask, kept, full_log_probs)
        (share * faithful).backward()
        complete = torch.zeros_like(faithful)
        if self._completeness_weight > 0 and checked.places:
            complete = self._completeness(mask, self._reversed_side(kept, checked))
            (checked.share * self._completeness_weight * complete).backward()
        assert mask.grad is not None
        return Losses(faithful.detach(), complete.detach()), mask.grad

    def gradients(self) -> list[Tensor]:
        return [self._gradient]

    def update(self, step: int) -> float:
        (gradient,) = self.gradients()
        keep = self.logits.detach().sigmoid()
        sparsity = self.config.sparsity_at(step) / self.graph.n_edges
        self.logits.grad = (gradient * self._slope + sparsity * keep * (1 - keep)) * self._open
        before = self.logits.detach().clone()
        self.optimizer.step()
        with torch.no_grad():  # what is decided would drift on with the optimizer's momentum
            self.logits.copy_(torch.where(self._open < self.valid, before, self.logits))
        return float((keep * self.valid).sum()) / self.graph.n_edges

    def thresholded(self) -> Thresholded:
        logits = edge_vector(self.graph, self.logits).astype(np.float32)
        # An edge without a way to the logits changes nothing in the circuit; to count it would be vanity.
        return Thresholded(self.graph.reaching_logits(logits > 0), logits, self.weight_masks)
