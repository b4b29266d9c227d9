"""The search over weights: mask logits for weights and biases of attention and MLP, all edges kept.

Axes: unit u (U), the weights that share a mask logit (`weight_units`). As for edges (`edge_phase`): one sample a step,
the complement takes its reverse, slope and sparsity term come in closed form afterwards, mask logits are fp32.
Source: arXiv 2407.03779, equations 3–8.

There can be as many logits as weights, so nothing of their size is kept that can be made again. The model runs on
weights that are masked in place (m·w for the kept pass, then w − m·w for the complement); the gradient of each goes,
times w, into the units' gradient as soon as it is known; the noise of the sample is drawn again for its slope.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from discogp.engine.masked_transformer import MaskedTransformer
from discogp.engine.masks import with_weights
from discogp.engine.plain import plain_forward
from discogp.evaluation.candidates import Candidates
from discogp.methods.discogp.draws import UniformDraws
from discogp.methods.discogp.losses import completeness_loss, faithfulness_loss
from discogp.methods.discogp.phase import Checked, Losses, Phase, Thresholded, adamw
from discogp.methods.discogp.settings import SearchConfig
from discogp.methods.discogp.weight_units import Covered, WeightUnits
from discogp.tasks.encoded import Prompts
from discogp.terms import Objective


class WeightPhase(Phase):
    """One mask logit a unit [U]."""

    name = "weights"

    def __init__(
        self, model: MaskedTransformer, train: Prompts, search: SearchConfig, generator: torch.Generator
    ) -> None:
        self.model, self.config, self.micro_batch = model, search.weights, search.micro_batch
        self.objective: Objective = search.objective
        self.recompute = search.recompute
        self.units = WeightUnits(model.weights, self.config)
        n = self.units.n_units
        self.logits = torch.empty(n, device=model.device)
        self.logits.normal_(self.config.initial_logit, self.config.initial_spread, generator=generator)
        self.logits.requires_grad_()
        self.optimizer = adamw([self.logits], self.config)
        self._sizes = None if self.units.single else self.units.sizes()
        self._draws = UniformDraws(n, search.seed, model.device)
        self._gradient = torch.zeros_like(self.logits)
        self._kept = torch.empty(n, dtype=torch.bool, device=model.device)
        self._masked: list[tuple[Covered, Tensor]] = []
        for covered in self.units.carriers():
            leaf = torch.empty_like(covered.weight).requires_grad_()
            # The hook must not know the phase, or both would live on in a cycle that no collector sees.
            leaf.register_post_accumulate_grad_hook(partial(_collect, covered, covered.spread(self._gradient)))
            self._masked.append((covered, leaf))
        self._weights = with_weights(model.weights, {covered.name: leaf for covered, leaf in self._masked})
        self._noise, self._completeness = 0.0, 0.0

    def _relaxed(self, step: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """(places, (ℓ + c·g)/τ, a workspace) of every block of this step's sample, g the logistic noise."""
        logits, temperature = self.logits.detach(), self.config.temperature
        for places, draws, workspace in self._draws.each(step):
            draws.logit_().mul_(self._noise).add_(logits[places]).div_(temperature)
            yield places, draws, workspace

    @torch.no_grad()
    def begin(self, step: int) -> None:
        self._noise = self.config.noise_at(step)
        self._completeness = self.config.completeness_at(step)
        self._gradient.zero_()
        for places, relaxed, _ in self._relaxed(step):
            torch.gt(relaxed, 0, out=self._kept[places])
        for covered, leaf in self._masked:
            weight = covered.weight.view(covered.grid)
            torch.mul(weight, covered.spread(self._kept), out=leaf.detach().view(covered.grid))

    @torch.no_grad()
    def _reverse(self) -> None:
        """From the kept weights to the others, or back: exact, since each is either the weight or 0."""
        for covered, leaf in self._masked:
            torch.sub(covered.weight, leaf, out=leaf.detach())

    def accumulate(
        self, batch: Prompts, full_log_probs: Tensor | None, share: float, checked: Checked | None = None
    ) -> Losses:
        checked = checked or Checked(tuple(range(len(batch))), share)
        logits = plain_forward(self._weights, batch.tokens, batch.last, recompute=self.recompute)
        faithful = faithfulness_loss(logits, full_log_probs, batch, self.objective)
        (share * faithful).backward()
        complete = torch.zeros_like(faithful)
        if self._completeness > 0 and checked.places:
            self._reverse()
            some = checked.of(batch)
            logits = plain_forward(self._weights, some.tokens, some.last, recompute=self.recompute)
            said = Candidates.of(logits, some)
            complete = completeness_loss(said.scores, said.correct, said.wrong)
            # Here a weight counts 1 − m times, so its gradient has the other sign.
            (-checked.share * self._completeness * complete).backward()
            self._reverse()
        return Losses(faithful.detach(), complete.detach())

    def gradients(self) -> list[Tensor]:
        return [self._gradient]

    @torch.no_grad()
    def update(self, step: int) -> float:
        temperature, n = self.config.temperature, self.units.n_weights
        sparsity = self.config.sparsity_at(step) / n
        logits, density = self.logits.detach(), torch.zeros((), device=self.logits.device)
        for places, relaxed, workspace in self._relaxed(step):
            gradient, soft = self._gradient[places], relaxed.sigmoid_()
            gradient.mul_(torch.neg(soft, out=workspace).add_(1).mul_(soft).div_(temperature))
            keep = torch.sigmoid(logits[places], out=relaxed)
            change = torch.neg(keep, out=workspace).add_(1).mul_(keep)
            if self._sizes is not None:
                keep.mul_(self._sizes[places])
                change.mul_(self._sizes[places])
            density += keep.sum()
            gradient.add_(change, alpha=sparsity)
        self.logits.grad = self._gradient
        self.optimizer.step()
        return float(density) / n

    def thresholded(self) -> Thresholded:
        masks = self.units.masks(self.logits.detach() > 0)
        return Thresholded(np.ones(self.model.graph.n_edges, dtype=bool), None, masks)


def _collect(covered: Covered, gradient: Tensor, leaf: Tensor) -> None:
    """Add a masked weight's gradient, as its units' (in the shape `covered.units`), and let go of it."""
    assert leaf.grad is not None
    own, weight = leaf.grad.reshape(covered.grid), covered.weight.view(covered.grid)
    leaf.grad = None
    if covered.units == covered.grid:
        gradient.addcmul_(own, weight)
    else:
        gradient.add_((own * weight).sum_to_size(covered.units))
