"""The search over weights: a mask over every weight and bias of attention and MLP, all edges kept.

As for edges (`edge_phase`): one sample a step, hard masks as leaves of the passes, slope and sparsity term in closed
form afterwards, mask logits in fp32. Source: arXiv 2407.03779, equations 3–8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from discogp.compute import plain_forward
from discogp.masked_transformer import MaskedTransformer
from discogp.masks import apply_weight_masks, sample, weight_fields
from discogp.methods.phase import Candidate, Losses, Phase, adamw
from discogp.objectives import completeness_loss, faithfulness_loss
from discogp.settings import Objective, SearchConfig
from discogp.tasks.encoding import Prompts


class WeightPhase(Phase):
    """Mask logits over every weight and bias of attention and MLP, all edges kept."""

    name = "weights"

    def __init__(
        self, model: MaskedTransformer, train: Prompts, search: SearchConfig, generator: torch.Generator
    ) -> None:
        self.model, self.config, self.micro_batch = model, search.weights, search.micro_batch
        self.objective: Objective = search.objective
        self.generator = generator
        self.logits: dict[str, Tensor] = {}
        for name, _, _, tensor in weight_fields(model.weights):
            noise = torch.randn(tensor.shape, generator=generator, device=tensor.device) * self.config.initial_spread
            self.logits[name] = (self.config.initial_logit + noise).requires_grad_()
        self.n_weights = sum(logits.numel() for logits in self.logits.values())
        self.optimizer = adamw(list(self.logits.values()), self.config)

    def begin(self, step: int) -> None:
        noise = self.config.noise_at(step)
        drawn = {
            name: sample(logits.detach(), self.config.temperature, noise, self.generator)
            for name, logits in self.logits.items()
        }
        self._slopes = {name: s.slope for name, s in drawn.items()}
        self._masks = {name: s.hard.requires_grad_() for name, s in drawn.items()}
        for mask in self._masks.values():
            mask.grad = torch.zeros_like(mask)
        self._completeness_weight = self.config.completeness_at(step)

    def accumulate(self, batch: Prompts, full_log_probs: Tensor | None, share: float) -> Losses:
        logits = plain_forward(apply_weight_masks(self.model.weights, self._masks), batch.tokens, batch.last)
        faithful = faithfulness_loss(logits, full_log_probs, batch.correct, batch.wrong, self.objective)
        (share * faithful).backward()
        complete = torch.zeros_like(faithful)
        if self._completeness_weight > 0:
            others = {name: 1 - mask for name, mask in self._masks.items()}
            logits = plain_forward(apply_weight_masks(self.model.weights, others), batch.tokens, batch.last)
            complete = completeness_loss(logits, batch.correct, batch.wrong)
            (share * self._completeness_weight * complete).backward()
        return Losses(faithful.detach(), complete.detach())

    def gradients(self) -> list[Tensor]:
        return [mask.grad for mask in self._masks.values() if mask.grad is not None]

    def update(self, step: int) -> float:
        sparsity, kept = self.config.sparsity_at(step) / self.n_weights, 0.0
        for (name, parameter), gradient in zip(self.logits.items(), self.gradients(), strict=True):
            keep = parameter.detach().sigmoid()
            kept += float(keep.sum())
            gradient = gradient.mul_(self._slopes[name])
            parameter.grad = gradient.addcmul_(keep, keep.neg().add_(1), value=sparsity)
        self.optimizer.step()
        return kept / self.n_weights

    def state(self) -> dict[str, Any]:
        logits = {name: logits.detach() for name, logits in self.logits.items()}
        return {"logits": logits, "optimizer": self.optimizer.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        with torch.no_grad():
            for name, logits in self.logits.items():
                logits.copy_(state["logits"][name])
        self.optimizer.load_state_dict(dict(state["optimizer"]))

    def candidate(self) -> Candidate:
        masks = {name: (logits.detach() > 0).cpu().numpy() for name, logits in self.logits.items()}
        return Candidate(np.ones(self.model.graph.n_edges, dtype=bool), None, masks)
