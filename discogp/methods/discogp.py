"""DiscoGP's two phases: a step over weight masks, and a step over edge masks.

Axes: reader r (R), source s (P), batch b. L = L_faithful + λ_c·L_complete + λ_s·L_sparse (arXiv 2407.03779,
equations 5–8). Both terms of one step use one sample of the mask, m for the kept pass and 1−m for the complement.
Masks are leaves of those passes; the slope of the relaxed sample and the sparsity term's gradient, both known in closed
form, are applied afterwards, so no graph is kept over the mask logits. Mask logits are fp32 whatever the model is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discogp.circuit import Ablation
from discogp.compute import FoldedWeights, plain_forward
from discogp.evaluation import mean_replacement
from discogp.masked_pass import Replacement, Workspace
from discogp.masked_transformer import MaskedTransformer
from discogp.masks import apply_weight_masks, edge_matrix, edge_vector, sample, weight_fields
from discogp.objectives import completeness_loss, faithfulness_loss
from discogp.settings import Objective, PhaseConfig, SearchConfig
from discogp.tasks.encoding import Prompts

# Keep probabilities under which attribution is averaged: the model just broken enough to tell edges apart.
_ATTRIBUTION_KEEP = (1.0, 0.97, 0.93, 0.88, 0.8)
_ATTRIBUTION_PROMPTS = 16


@dataclass(frozen=True)
class StepReport:
    """Losses of one step (nats; sparsity: expected density, 0–1)."""

    faithfulness: float
    completeness: float
    sparsity: float


@dataclass(frozen=True)
class Candidate:
    """The thresholded masks at some step: plain data, cheap to keep. Edge logits [E]."""

    edge_mask: NDArray[np.bool_]
    edge_logits: NDArray[np.float32] | None
    weight_masks: Mapping[str, NDArray[np.bool_]] | None


class Phase(Protocol):
    """One kind of mask under search."""

    name: str
    config: PhaseConfig

    def step(self, batch: Prompts, full_log_probs: Tensor | None, step: int) -> StepReport: ...
    def candidate(self) -> Candidate: ...


def _adamw(parameters: list[Tensor], config: PhaseConfig) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def candidates(batch: Prompts) -> tuple[Tensor, Tensor, Tensor]:
    """(token ids [b, C+W], places of the right ones [b, C], of the wrong ones [b, W]); −1 is padding in the latter."""
    n_right, n_wrong = batch.correct.shape[1], batch.wrong.shape[1]
    ids = torch.cat([batch.correct, batch.wrong], 1)
    places = torch.arange(n_right + n_wrong, device=ids.device).expand_as(ids).masked_fill(ids < 0, -1)
    return ids.clamp_min(0), places[:, :n_right], places[:, n_right:]


class EdgePhase:
    """Mask logits [R, P] over edges, on weights that are held fixed."""

    name = "edges"

    def __init__(
        self,
        model: MaskedTransformer,
        train: Prompts,
        search: SearchConfig,
        generator: torch.Generator,
        weight_masks: Mapping[str, NDArray[np.bool_]] | None = None,
    ) -> None:
        self.model, self.config = model, search.edges
        self.objective: Objective = search.objective
        self.ablation: Ablation = search.ablation
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
        self.workspace = Workspace()
        self.means: dict[int, Replacement] = {}
        if self.ablation == "mean":
            batches = list(train.batches(64))
            for folded in {id(self.kept): self.kept, id(self.reversed): self.reversed}.values():
                self.means[id(folded)] = mean_replacement(model, batches, folded)
        self.logits = self._initial_logits(train)
        self.optimizer = _adamw([self.logits], self.config)

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
        full = self.model.logits(batch.tokens, batch.last).log_softmax(-1)
        total = torch.zeros_like(self.valid)
        for keep in _ATTRIBUTION_KEEP:
            drawn = torch.rand(self.valid.shape, generator=self.generator, device=self.valid.device)
            mask = ((drawn < keep).float() * self.valid).requires_grad_()
            self._faithfulness(mask, batch, full).backward()
            assert mask.grad is not None
            total += mask.grad.abs()
        return total

    def _replacement(self, folded: FoldedWeights, batch: Prompts) -> Replacement | None:
        if self.ablation == "mean":
            return self.means[id(folded)]
        return self.model.replacement(self.ablation, batch.tokens, batch.counterfactual, folded=folded)

    def _faithfulness(self, mask: Tensor, batch: Prompts, full_log_probs: Tensor | None) -> Tensor:
        ids, right, wrong = candidates(batch)
        task_only = self.objective == "task"
        logits = self.model.masked(
            batch.tokens,
            mask,
            last=batch.last,
            replacement=self._replacement(self.kept, batch),
            folded=self.kept,
            candidates=ids if task_only else None,
            workspace=self.workspace,
        )
        if task_only:
            return faithfulness_loss(logits, None, right, wrong, "task")
        return faithfulness_loss(logits, full_log_probs, batch.correct, batch.wrong, self.objective)

    def _completeness(self, mask: Tensor, batch: Prompts) -> Tensor:
        ids, right, wrong = candidates(batch)
        logits = self.model.masked(
            batch.tokens,
            self.valid - mask,
            last=batch.last,
            replacement=self._replacement(self.reversed, batch),
            folded=self.reversed,
            candidates=ids,
            workspace=self.workspace,
        )
        return completeness_loss(logits, right, wrong)

    def step(self, batch: Prompts, full_log_probs: Tensor | None, step: int) -> StepReport:
        config = self.config
        drawn = sample(self.logits.detach(), config.temperature, config.noise_at(step), self.generator)
        mask = (drawn.hard * self.valid).requires_grad_()
        faithful = self._faithfulness(mask, batch, full_log_probs)
        faithful.backward()
        complete = torch.zeros(())
        weight = config.completeness_at(step)
        if weight > 0:
            complete = self._completeness(mask, batch)
            (weight * complete).backward()
        assert mask.grad is not None
        keep = self.logits.detach().sigmoid()
        sparsity = config.sparsity_at(step) / self.graph.n_edges
        self.logits.grad = mask.grad * drawn.slope + (sparsity * keep * (1 - keep)) * self.valid
        self.optimizer.step()
        density = float((keep * self.valid).sum()) / self.graph.n_edges
        return StepReport(float(faithful.detach()), float(complete.detach()), density)

    def candidate(self) -> Candidate:
        logits = edge_vector(self.graph, self.logits).astype(np.float32)
        # An edge without a way to the logits changes nothing in the circuit; to count it would be vanity.
        return Candidate(self.graph.reaching_logits(logits > 0), logits, self.weight_masks)


class WeightPhase:
    """Mask logits over every weight and bias of attention and MLP, all edges kept."""

    name = "weights"

    def __init__(
        self, model: MaskedTransformer, train: Prompts, search: SearchConfig, generator: torch.Generator
    ) -> None:
        self.model, self.config = model, search.weights
        self.objective: Objective = search.objective
        self.generator = generator
        self.logits: dict[str, Tensor] = {}
        for name, _, _, tensor in weight_fields(model.weights):
            noise = torch.randn(tensor.shape, generator=generator, device=tensor.device) * self.config.initial_spread
            self.logits[name] = (self.config.initial_logit + noise).requires_grad_()
        self.n_weights = sum(logits.numel() for logits in self.logits.values())
        self.optimizer = _adamw(list(self.logits.values()), self.config)

    def step(self, batch: Prompts, full_log_probs: Tensor | None, step: int) -> StepReport:
        config, noise = self.config, self.config.noise_at(step)
        drawn = {
            name: sample(logits.detach(), config.temperature, noise, self.generator)
            for name, logits in self.logits.items()
        }
        masks = {name: s.hard.requires_grad_() for name, s in drawn.items()}
        logits = plain_forward(apply_weight_masks(self.model.weights, masks), batch.tokens, batch.last)
        faithful = faithfulness_loss(logits, full_log_probs, batch.correct, batch.wrong, self.objective)
        faithful.backward()
        complete = torch.zeros(())
        weight = config.completeness_at(step)
        if weight > 0:
            others = {name: 1 - mask for name, mask in masks.items()}
            logits = plain_forward(apply_weight_masks(self.model.weights, others), batch.tokens, batch.last)
            complete = completeness_loss(logits, batch.correct, batch.wrong)
            (weight * complete).backward()
        sparsity, kept = config.sparsity_at(step) / self.n_weights, 0.0
        for name, parameter in self.logits.items():
            gradient = masks[name].grad
            assert gradient is not None
            keep = parameter.detach().sigmoid()
            kept += float(keep.sum())
            gradient = gradient.mul_(drawn[name].slope)
            parameter.grad = gradient.addcmul_(keep, keep.neg().add_(1), value=sparsity)
        self.optimizer.step()
        return StepReport(float(faithful.detach()), float(complete.detach()), kept / self.n_weights)

    def candidate(self) -> Candidate:
        masks = {name: (logits.detach() > 0).cpu().numpy() for name, logits in self.logits.items()}
        return Candidate(np.ones(self.model.graph.n_edges, dtype=bool), None, masks)
