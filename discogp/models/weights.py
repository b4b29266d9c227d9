"""The weights of a decoder-only transformer as plain tensors, the same layout for every family.

Axes: layer l, query head H, key/value head K (K divides H: grouped-query attention), residual stream D
(d_model), head dh (d_head), MLP neuron M (d_mlp), vocabulary V. Every matrix maps its first (or, per head,
its second) axis to its last one: `x [.., D] @ q[h] [D, dh]`, `z [.., dh] @ o[h] [dh, D]`, `x @ mlp_in [D,
M]`, `x @ unembed [D, V]`.

Nothing is folded or centred: these are the checkpoint's own numbers, so a mask over them is a mask over the
model. (Only the gains of norms that a checkpoint stores less one, as Gemma's, have the one added.)
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

Norm = Literal["layer", "rms"]
Activation = Literal["gelu_tanh", "gelu", "silu", "relu"]


@dataclass(frozen=True)
class Rotary:
    """Rotary positions: the first `dims` of a head's dimensions turn, i together with i + dims/2, the others stay."""

    theta: float
    dims: int
    inv_freq: tuple[float, ...] | None = None
    """Inverse frequencies [dims/2] where they do not follow from theta alone (Llama 3 scaling); None otherwise."""
    scale: float = 1.0
    """What cosine and sine are multiplied by (LongRoPE)."""

    def frequencies(self) -> Tensor:
        """Inverse frequencies, fp32 [dims/2], in radians per position."""
        if self.inv_freq is not None:
            return torch.tensor(self.inv_freq, dtype=torch.float32)
        exponents = torch.arange(0, self.dims, 2, dtype=torch.int64).float() / self.dims
        return 1.0 / (self.theta**exponents)


@dataclass(frozen=True)
class AttentionConfig:
    """How the queries of one layer meet its keys: softmax(cap(scale · q·k)) over the keys in sight."""

    scale: float | None = None
    """None: 1/√dh."""
    window: int | None = None
    """How many positions a query sees, its own counted; None: all before it."""
    cap: float | None = None
    """Scores s become cap · tanh(s / cap); None: they stay."""
    rotary: Rotary | None = None
    """None where positions are learned and added to the embedding."""


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a model and the choices its forward pass depends on; what may differ from layer to layer is in
    `LayerWeights.attention`."""

    family: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    max_positions: int
    norm: Norm
    norm_eps: float
    activation: Activation
    gated: bool
    parallel: bool = False
    """Attention and MLP read the same residual stream."""
    post_norms: bool = False
    """What attention and MLP write is normed once more before it is added to the residual stream."""
    embed_scale: float = 1.0
    """What token embeddings are multiplied by (the unembedding is not)."""
    logit_cap: float | None = None
    """Logits x become cap · tanh(x / cap); None: they stay."""

    @property
    def queries_per_kv_head(self) -> int:
        """Query heads that share one key/value head; query head h reads key/value head h // this."""
        return self.n_heads // self.n_kv_heads


class _Tensors:
    """What the two records below share: a walk over their tensor fields."""

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """(field name, tensor) for every tensor field that is not None."""
        for field in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                yield field.name, value


@dataclass(frozen=True)
class LayerWeights(_Tensors):
    """One block. Biases and the gate are None where the architecture has none."""

    norm1: Tensor
    """[D], the gain of the norm before attention."""
    norm1_bias: Tensor | None
    """[D]"""
    q: Tensor
    """[H, D, dh]"""
    k: Tensor
    """[K, D, dh]"""
    v: Tensor
    """[K, D, dh]"""
    o: Tensor
    """[H, dh, D]"""
    q_bias: Tensor | None
    """[H, dh]"""
    k_bias: Tensor | None
    """[K, dh]"""
    v_bias: Tensor | None
    """[K, dh]"""
    o_bias: Tensor | None
    """[D]"""
    norm2: Tensor
    """[D], the gain of the norm before the MLP."""
    norm2_bias: Tensor | None
    """[D]"""
    mlp_in: Tensor
    """[D, M]"""
    mlp_in_bias: Tensor | None
    """[M]"""
    mlp_gate: Tensor | None
    """[D, M]; the activation is applied to this branch: act(x @ gate) * (x @ in)."""
    mlp_gate_bias: Tensor | None
    """[M]"""
    mlp_out: Tensor
    """[M, D]"""
    mlp_out_bias: Tensor | None
    """[D]"""
    norm_q: Tensor | None = None
    """[dh], the gain of a norm of every head's queries, before they are rotated."""
    norm_k: Tensor | None = None
    """[dh], the same for keys."""
    norm_after_attention: Tensor | None = None
    """[D], the gain of a norm of the sum of all heads' outputs."""
    norm_after_mlp: Tensor | None = None
    """[D], the gain of a norm of the MLP's output."""
    attention: AttentionConfig = AttentionConfig()

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> LayerWeights:
        """The same layer on another device or in another dtype; tensors that need no change are shared."""
        return replace(self, **{name: t.to(device=device, dtype=dtype) for name, t in self.named_tensors()})

    @property
    def n_params(self) -> int:
        """Weights and biases of attention and MLP: what a weight mask covers (norms excluded)."""
        return sum(t.numel() for name, t in self.named_tensors() if not name.startswith("norm"))


@dataclass(frozen=True)
class ModelWeights(_Tensors):
    """A whole model: fp32, contiguous, without gradients; shared by every user of the model, so never written
    to."""

    config: ModelConfig
    embed: Tensor
    """[V, D]"""
    positions: Tensor | None
    """[max_positions, D], or None with rotary positions."""
    layers: tuple[LayerWeights, ...]
    final_norm: Tensor
    """[D]"""
    final_norm_bias: Tensor | None
    """[D]"""
    unembed: Tensor
    """[D, V]; a transposed view of `embed` where the checkpoint ties the two, so that they are stored
    once."""

    @property
    def tied(self) -> bool:
        """Whether unembedding and embedding are the same numbers in memory."""
        return self.unembed.data_ptr() == self.embed.data_ptr()

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> ModelWeights:
        """The same model on another device or in another dtype; a tied unembedding stays tied."""
        moved = {name: t.to(device=device, dtype=dtype) for name, t in self.named_tensors()}
        if self.tied:
            moved["unembed"] = moved["embed"].T
        return replace(self, layers=tuple(layer.to(device, dtype) for layer in self.layers), **moved)

    @cached_property
    def fingerprint(self) -> str:
        """Tells other weights from these, on any device: a checksum over every tensor's shape and mean magnitude."""
        tensors = [*self.named_tensors(), *(pair for layer in self.layers for pair in layer.named_tensors())]
        # Six figures of a mean without cancellation do not depend on the order in which it is summed up.
        means = [(name, *t.shape, f"{_mean_magnitude(t):.6g}") for name, t in tensors]
        return f"{zlib.crc32(repr(means).encode()):08x}"

    @property
    def n_params(self) -> int:
        """All parameters of the checkpoint, a tied unembedding counted once."""
        own = sum(t.numel() for name, t in self.named_tensors() if not (name == "unembed" and self.tied))
        return own + sum(t.numel() for layer in self.layers for _, t in layer.named_tensors())

    @property
    def n_maskable_params(self) -> int:
        """Weights and biases of attention and MLP over all layers: the denominator of a weight density."""
        return sum(layer.n_params for layer in self.layers)


def _mean_magnitude(tensor: Tensor) -> float:
    total = torch.linalg.vector_norm(tensor.flatten(), 1, dtype=torch.float64)  # no copy, as abs() would make
    return total.item() / max(1, tensor.numel())
