"""Drawing a mask from its logits.

A sample is hard, 0 or 1, in the forward pass; backward it has the slope of the relaxed Bernoulli variable
s = σ((ℓ + c·g)/τ) with g logistic noise (arXiv 2407.03779, equations 3–4; one uniform draw per entry is enough,
g = log u − log(1−u)). c = 1 is the paper's. On deep models a smaller c is needed: with thousands of edges at
probability one half, every sample is a different, broken model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """A drawn mask: `hard` in {0, 1}, and `slope` = ds/dℓ of the relaxed sample, both of the logits' shape."""

    hard: Tensor
    slope: Tensor


@torch.no_grad()
def sample(logits: Tensor, temperature: float, noise: float, generator: torch.Generator) -> Sample:
    """Draw a mask. `temperature` τ > 0; `noise` scales the logistic noise (1: the paper's; 0: a plain threshold)."""
    soft = torch.rand(logits.shape, dtype=logits.dtype, device=logits.device, generator=generator)
    # A uniform draw of exactly 0 or 1 has infinite logit, whose slope would be nan.
    soft.clamp_(1e-6, 1 - 1e-6).logit_().mul_(noise).add_(logits).div_(temperature).sigmoid_()
    hard = (soft > 0.5).to(logits.dtype)
    return Sample(hard, soft.mul_(1 - soft).div_(temperature))
