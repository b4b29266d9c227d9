"""The small operations both forward passes are made of: activations, norms, a projection.

Axes: tokens n, features e and f, vocabulary V.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from discogp.models.weights import ModelConfig


def activate(x: Float[Tensor, "*n M"], activation: str) -> Float[Tensor, "*n M"]:
    if activation == "gelu_tanh":
        return F.gelu(x, approximate="tanh")
    return {"gelu": F.gelu, "silu": F.silu, "relu": F.relu}[activation](x)


def norm(
    x: Float[Tensor, "*n D"], config: ModelConfig, gain: Float[Tensor, "D"], bias: Float[Tensor, "D"] | None
) -> Float[Tensor, "*n D"]:
    """LayerNorm or RMSNorm over the last axis, as the checkpoint defines it."""
    if config.norm == "layer":
        return F.layer_norm(x, (x.shape[-1],), gain, bias, config.norm_eps)
    return F.rms_norm(x, (x.shape[-1],), gain, config.norm_eps)


def capped(logits: Float[Tensor, "*b V"], config: ModelConfig) -> Float[Tensor, "*b V"]:
    return logits if config.logit_cap is None else config.logit_cap * torch.tanh(logits / config.logit_cap)


_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


# oneDNN's names for an activation and its variant.
_FUSED = {"gelu": ("gelu", "none"), "gelu_tanh": ("gelu", "tanh"), "silu": ("swish", ""), "relu": ("relu", "")}


def linear(
    x: Float[Tensor, "n e"],
    weight: Float[Tensor, "f e"],
    bias: Float[Tensor, "f"] | None = None,
    activation: str | None = None,
) -> Float[Tensor, "n f"]:
    """x [n, e] @ weight [f, e].T + bias [f], and the activation of that, if there is one. Without gradients.

    PyTorch sends fp32 products to MKL; oneDNN's kernels, which it has too, are a sixth faster at these shapes, twice as
    fast where n is small, and apply the activation to what is in the cache.
    """
    dense = weight.is_contiguous() or weight.T.is_contiguous()  # oneDNN takes a thousand times as long for a slice
    if dense and _HAS_ONEDNN and x.dtype == torch.float32 and x.device.type == "cpu":
        name, variant = ("none", "") if activation is None else _FUSED[activation]
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, name, [], variant)
    out = F.linear(x, weight, bias)
    return out if activation is None else activate(out, activation)


def product(x: Float[Tensor, "*n e"], weight: Float[Tensor, "e f"]) -> Float[Tensor, "*n f"]:
    """x [.., e] @ weight [e, f], by `linear` where nobody asks for gradients."""
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return x @ weight
    return linear(x.reshape(-1, x.shape[-1]), weight.T).view(*x.shape[:-1], -1)
