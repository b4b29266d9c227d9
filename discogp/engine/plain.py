"""The plain forward pass: a `ModelWeights` as the checkpoint has it, on one residual stream.

Axes: batch b, position t, query head H, residual stream D, head dh, MLP neuron M, vocabulary V. It is what weight
masks are trained through, and the full model that every circuit is compared with.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from discogp.engine.attention import attend
from discogp.engine.kernels import activate, capped, norm, product
from discogp.models.weights import LayerWeights, ModelConfig, ModelWeights


def embed(weights: ModelWeights, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t D"]:
    """[b, t, D]: scaled token embeddings, and learned positions where the model has them."""
    x = weights.embed[tokens]
    if weights.config.embed_scale != 1.0:
        x = x * weights.config.embed_scale
    return x if weights.positions is None else x + weights.positions[: tokens.shape[1]]


def plain_forward(
    weights: ModelWeights,
    tokens: Int[Tensor, "b t"],
    last: Int[Tensor, "b"] | None = None,
    sources: Float[Tensor, "P b t D"] | None = None,
    recompute: bool = False,
) -> Float[Tensor, "b t V"] | Float[Tensor, "b V"]:
    """Logits of the model as it is: [b, t, V], or [b, V] at the positions `last` [b].

    `sources` [P, b, t, D], if given, is filled with what every source writes, the attention bias shared out
    equally over a layer's heads. `recompute`: for the backward pass keep only what goes into blocks.
    """
    x = embed(weights, tokens)
    if sources is not None:
        sources[0].copy_(x)
    per_layer = weights.config.n_heads + 1
    for index, layer in enumerate(weights.layers):
        own = None if sources is None else sources[1 + index * per_layer : 1 + (index + 1) * per_layer]
        if recompute:
            x = checkpoint(plain_block, x, layer, weights.config, own, use_reentrant=False)
        else:
            x = plain_block(x, layer, weights.config, own)
    if last is not None:
        x = x[torch.arange(len(x), device=x.device), last]
    return unembed(weights, x)


def plain_block(
    x: Float[Tensor, "b t D"],
    layer: LayerWeights,
    config: ModelConfig,
    sources: Float[Tensor, "nodes b t D"] | None = None,
) -> Float[Tensor, "b t D"]:
    """One block on a residual stream [b, t, D]; fills `sources` [H+1, b, t, D] with what heads and MLP write."""
    b, t, _ = x.shape
    heads = config.n_heads
    normed = norm(x, config, layer.norm1, layer.norm1_bias)
    q = _split_heads(normed, layer.q, layer.q_bias)
    k = _split_heads(normed, layer.k, layer.k_bias)
    v = _split_heads(normed, layer.v, layer.v_bias)
    z = attend(q, k, v, layer, config.norm_eps)
    attention = F.linear(z.transpose(1, 2).reshape(b, t, -1), layer.o.reshape(-1, config.d_model).T, layer.o_bias)
    # A norm behind attention divides every head's write by the same number, that of their sum.
    gain: Tensor | None = None
    if layer.norm_after_attention is not None:
        gain = layer.norm_after_attention * torch.rsqrt(attention.square().mean(-1, keepdim=True) + config.norm_eps)
    if sources is not None:
        by_head = torch.einsum("bhte,hed->hbtd", z, layer.o)
        by_head = by_head if layer.o_bias is None else by_head + layer.o_bias / heads
        sources[:heads].copy_(by_head if gain is None else by_head * gain)
    attention = attention if gain is None else attention * gain
    before_mlp = x if config.parallel else x + attention
    mlp = mlp_forward(norm(before_mlp, config, layer.norm2, layer.norm2_bias), layer, config)
    if layer.norm_after_mlp is not None:
        mlp = norm(mlp, config, layer.norm_after_mlp, None)
    if sources is not None:
        sources[heads].copy_(mlp)
    return x + attention + mlp


def unembed(
    weights: ModelWeights, x: Float[Tensor, "*b D"], candidates: Int[Tensor, "*b C"] | None = None
) -> Float[Tensor, "*b V"] | Float[Tensor, "*b C"]:
    """Logits [.., V] of the final residual stream [.., D]; or [b, C] at the token ids `candidates` [b, C] only."""
    x = norm(x, weights.config, weights.final_norm, weights.final_norm_bias)
    chosen = None if candidates is None else weights.unembed.T[candidates]
    logits = product(x, weights.unembed) if chosen is None else torch.einsum("bd,bcd->bc", x, chosen)
    return capped(logits, weights.config)


def _split_heads(
    x: Float[Tensor, "b t D"], weight: Float[Tensor, "h D dh"], bias: Float[Tensor, "h dh"] | None
) -> Float[Tensor, "b h t dh"]:
    """[b, t, D] through [h, D, dh] to [b, h, t, dh]."""
    h, d, e = weight.shape
    flat = F.linear(x, weight.transpose(1, 2).reshape(h * e, d), None if bias is None else bias.reshape(-1))
    return flat.view(*x.shape[:2], h, e).transpose(1, 2)


def mlp_forward(x: Float[Tensor, "b t D"], layer: LayerWeights, config: ModelConfig) -> Float[Tensor, "b t D"]:
    hidden = F.linear(x, layer.mlp_in.T, layer.mlp_in_bias)
    if layer.mlp_gate is None:
        hidden = activate(hidden, config.activation)
    else:
        hidden = activate(F.linear(x, layer.mlp_gate.T, layer.mlp_gate_bias), config.activation) * hidden
    return F.linear(hidden, layer.mlp_out.T, layer.mlp_out_bias)
