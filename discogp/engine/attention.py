"""Softmax attention as the families do it: rotary positions, windows, capped scores, normed queries and keys.

Axes: batch b, position t, query head H, key/value head K, head dh. What differs from layer to layer is said by
`AttentionConfig`; tables of angles and of who sees whom are made once for each length and device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discogp.engine.prefixes import Prefixes
from discogp.models.weights import AttentionConfig, LayerWeights, Rotary


@dataclass(frozen=True)
class Rotation:
    """cos and sin [t, dims] of rotary positions, in the half-split layout; `dims` may be fewer than a head's."""

    cos: Float[Tensor, "*t dims"]
    sin: Float[Tensor, "*t dims"]

    def at(self, positions: Int[Tensor, "b"]) -> Rotation:
        """One position per example: cos and sin [b, 1, 1, dims] for queries [b, H, 1, dh]."""
        return Rotation(self.cos[positions][:, None, None], self.sin[positions][:, None, None])

    def apply(self, x: Float[Tensor, "*H t dh"]) -> Float[Tensor, "*H t dh"]:
        dims = self.cos.shape[-1]
        turning = x[..., :dims]
        first, second = turning.chunk(2, dim=-1)
        turned = turning * self.cos + torch.cat([-second, first], dim=-1) * self.sin
        return turned if dims == x.shape[-1] else torch.cat([turned, x[..., dims:]], dim=-1)


@lru_cache(maxsize=16)
def rotation(rotary: Rotary, n_positions: int, device: torch.device, dtype: torch.dtype) -> Rotation:
    """The tables for positions 0 … t-1, made in fp32 whatever `dtype` is."""
    angles = torch.outer(torch.arange(n_positions, dtype=torch.float32), rotary.frequencies()).repeat(1, 2)
    cos, sin = (table * rotary.scale for table in (angles.cos(), angles.sin()))
    return Rotation(cos.to(device, dtype), sin.to(device, dtype))


@lru_cache(maxsize=16)
def _in_sight(window: int | None, n_positions: int, device: torch.device) -> Bool[Tensor, "t t"]:
    """[t, t] bool: which key (second axis) each query (first axis) sees."""
    seen = torch.ones(n_positions, n_positions, dtype=torch.bool, device=device).tril()
    return seen if window is None else seen.triu(1 - window)


def attend(
    q: Float[Tensor, "b H q dh"],
    k: Float[Tensor, "b K t dh"],
    v: Float[Tensor, "b K t dh"],
    layer: LayerWeights,
    norm_eps: float,
    last: Int[Tensor, "b"] | None = None,
) -> Float[Tensor, "b H q dh"]:
    """What heads make of projected queries [b, H, t, dh], keys and values [b, K, t, dh]: [b, H, t, dh].

    With `last` [b], queries are of that one position per prompt: [b, H, 1, dh], and so is what comes back.
    """
    how, n_positions = layer.attention, k.shape[2]
    q, k = _normed(q, k, layer, norm_eps)
    if how.rotary is not None:
        turn = rotation(how.rotary, n_positions, k.device, k.dtype)
        q, k = (turn if last is None else turn.at(last)).apply(q), turn.apply(k)
    return _weighed(q, k, v, how, last)


def attend_along(
    q: Float[Tensor, "H n dh"],
    k: Float[Tensor, "H n dh"],
    v: Float[Tensor, "H n dh"],
    layer: LayerWeights,
    norm_eps: float,
    prefixes: Prefixes,
) -> Float[Tensor, "H n dh"]:
    """The same for queries, keys and values [H, n, dh] of the different beginnings of a batch's prompts."""
    how = layer.attention
    q, k = _normed(q, k, layer, norm_eps)
    if how.rotary is not None:
        turn = rotation(how.rotary, prefixes.rows.shape[1], k.device, k.dtype)
        turn = Rotation(turn.cos[prefixes.positions], turn.sin[prefixes.positions])
        q, k = turn.apply(q), turn.apply(k)
    q, k, v = (prefixes.spread(x).transpose(0, 1) for x in (q, k, v))
    return prefixes.gathered(_weighed(q, k, v, how, None))


def _normed(q: Tensor, k: Tensor, layer: LayerWeights, eps: float) -> tuple[Tensor, Tensor]:
    if layer.norm_q is None or layer.norm_k is None:
        return q, k
    return F.rms_norm(q, q.shape[-1:], layer.norm_q, eps), F.rms_norm(k, k.shape[-1:], layer.norm_k, eps)


def _weighed(
    q: Float[Tensor, "b H q dh"],
    k: Float[Tensor, "b K t dh"],
    v: Float[Tensor, "b K t dh"],
    how: AttentionConfig,
    last: Int[Tensor, "b"] | None,
) -> Float[Tensor, "b H q dh"]:
    n_positions = k.shape[2]
    if k.shape[1] != q.shape[1]:
        group = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    narrows = how.window is not None and how.window < n_positions
    if last is None and not narrows and how.cap is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=how.scale)
    seen = _in_sight(how.window if narrows else None, n_positions, k.device)
    if last is not None:
        seen = seen[last][:, None, None]
    if how.cap is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=how.scale)
    return _capped(q, k, v, seen, how)


def _capped(
    q: Float[Tensor, "b H q dh"],
    k: Float[Tensor, "b H t dh"],
    v: Float[Tensor, "b H t dh"],
    seen: Bool[Tensor, "*b q t"],
    how: AttentionConfig,
) -> Float[Tensor, "b H q dh"]:
    assert how.cap is not None  # the caller's case
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if how.scale is None else how.scale)
    scores = how.cap * torch.tanh(scores / how.cap)
    return scores.masked_fill(~seen, float("-inf")).softmax(-1) @ v
