"""The pieces of a transformer's forward pass that both the plain and the masked model are made of.

Axes: batch b, position t, tokens n = b·t, query head H, residual stream D, head dh, MLP neuron M, vocabulary V.

Two views of the same weights. `plain_forward` runs a `ModelWeights` as the checkpoint has it, one residual stream,
and is what weight masks are trained through. `FoldedWeights` is for edge masks, where every reader has an input of
its own: norm gains and biases are folded into the projection behind them, and, for LayerNorm models, everything that
writes to the residual stream is centred. Then each norm is only a division by a root mean square, which can be done
after the projection, on dh numbers instead of D.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from discogp.attention import attend
from discogp.models.weights import LayerWeights, ModelConfig, ModelWeights


def activate(x: Tensor, activation: str) -> Tensor:
    if activation == "gelu_tanh":
        return F.gelu(x, approximate="tanh")
    return {"gelu": F.gelu, "silu": F.silu, "relu": F.relu}[activation](x)


def norm(x: Tensor, config: ModelConfig, gain: Tensor, bias: Tensor | None) -> Tensor:
    """LayerNorm or RMSNorm over the last axis, as the checkpoint defines it."""
    if config.norm == "layer":
        return F.layer_norm(x, (x.shape[-1],), gain, bias, config.norm_eps)
    return F.rms_norm(x, (x.shape[-1],), gain, config.norm_eps)


def embed(weights: ModelWeights, tokens: Tensor) -> Tensor:
    """[b, t, D]: scaled token embeddings, and learned positions where the model has them."""
    x = weights.embed[tokens]
    if weights.config.embed_scale != 1.0:
        x = x * weights.config.embed_scale
    return x if weights.positions is None else x + weights.positions[: tokens.shape[1]]


def plain_forward(
    weights: ModelWeights,
    tokens: Tensor,
    last: Tensor | None = None,
    sources: Tensor | None = None,
    recompute: bool = False,
) -> Tensor:
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


def plain_block(x: Tensor, layer: LayerWeights, config: ModelConfig, sources: Tensor | None = None) -> Tensor:
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


def unembed(weights: ModelWeights, x: Tensor, candidates: Tensor | None = None) -> Tensor:
    """Logits [.., V] of the final residual stream [.., D]; or [b, C] at the token ids `candidates` [b, C] only."""
    x = norm(x, weights.config, weights.final_norm, weights.final_norm_bias)
    chosen = None if candidates is None else weights.unembed.T[candidates]
    logits = x @ weights.unembed if chosen is None else torch.einsum("bd,bcd->bc", x, chosen)
    return _capped(logits, weights.config)


def _capped(logits: Tensor, config: ModelConfig) -> Tensor:
    return logits if config.logit_cap is None else config.logit_cap * torch.tanh(logits / config.logit_cap)


def _split_heads(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """[b, t, D] through [h, D, dh] to [b, h, t, dh]."""
    h, d, e = weight.shape
    flat = F.linear(x, weight.transpose(1, 2).reshape(h * e, d), None if bias is None else bias.reshape(-1))
    return flat.view(*x.shape[:2], h, e).transpose(1, 2)


def mlp_forward(x: Tensor, layer: LayerWeights, config: ModelConfig) -> Tensor:
    hidden = F.linear(x, layer.mlp_in.T, layer.mlp_in_bias)
    if layer.mlp_gate is None:
        hidden = activate(hidden, config.activation)
    else:
        hidden = activate(F.linear(x, layer.mlp_gate.T, layer.mlp_gate_bias), config.activation) * hidden
    return F.linear(hidden, layer.mlp_out.T, layer.mlp_out_bias)


_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [n, e] @ weight [f, e].T + bias [f], without gradients.

    PyTorch sends fp32 products to MKL; oneDNN's kernels, which it has too, are a sixth faster at these shapes.
    """
    if _HAS_ONEDNN and x.dtype == torch.float32 and x.device.type == "cpu":
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


@dataclass(frozen=True)
class FoldedLayer:
    """One block for readers with inputs of their own: norms are bare divisions by the root mean square."""

    qkv: Tensor
    """[3H, D, dh]: queries, keys, values of every *query* head; grouped keys and values are repeated."""
    qkv_bias: Tensor | None
    """[3H, dh]"""
    o: Tensor
    """[H, dh, D]"""
    o_bias: Tensor | None
    """[D], already one head's share."""
    mlp_in: Tensor
    """[D, M], or [D, 2M] for gated MLPs: the gate, then the input."""
    mlp_in_bias: Tensor | None
    mlp_out: Tensor
    """[M, D]"""
    mlp_out_bias: Tensor | None

    source: LayerWeights
    """The weights as they were before folding."""
    norm_eps: float

    def attention(self, projected: Tensor) -> Tensor:
        """What heads hand to their output projection, [H, n, dh], from projected and normed inputs [3H, b, t, dh]."""
        if self.qkv_bias is not None:
            projected = projected + self.qkv_bias[:, None, None]
        q, k, v = projected.transpose(0, 1).chunk(3, dim=1)
        return self.written(_by_head(attend(q, k, v, self.source, self.norm_eps)))

    def attention_at(self, queries: Tensor, keys_values: Tensor, last: Tensor, heads: int) -> Tensor:
        """The same for one position per prompt: queries [H, b, dh], keys and values [2H, b, t, dh] -> [H, b, dh]."""
        if self.qkv_bias is not None:
            queries = queries + self.qkv_bias[:heads, None]
            keys_values = keys_values + self.qkv_bias[heads:, None, None]
        q = queries.transpose(0, 1).unsqueeze(2)
        k, v = keys_values.transpose(0, 1).chunk(2, dim=1)
        return self.written(_by_head(attend(q, k, v, self.source, self.norm_eps, last)))

    def written(self, z: Tensor) -> Tensor:
        """What is left of a norm behind attention to do on z [H, n, dh]: the division by the norm of the heads' sum."""
        return z if self.source.norm_after_attention is None else _normed_write(z, self.source.o, self.norm_eps)

    def of_heads(self, chosen: Tensor) -> FoldedLayer:
        """The attention of some heads, without projections; `chosen` [3h]: their places among the 3H readers."""
        bias = None if self.qkv_bias is None else self.qkv_bias[chosen]
        return replace(self, qkv=self.qkv[:0], qkv_bias=bias, o=self.o[:0])

    def mlp(self, projected: Tensor, activation: str) -> Tensor:
        """What an MLP hands to its output projection, [1, n, M], from its projected input [1, n, M or 2M]."""
        if self.mlp_in_bias is not None:
            projected = projected + self.mlp_in_bias
        return self.mlp_hidden(projected, activation)

    def mlp_hidden(self, projected: Tensor, activation: str) -> Tensor:
        """The same, where the bias has been added."""
        n_hidden = self.mlp_out.shape[0]
        if projected.shape[-1] == n_hidden:
            hidden = activate(projected, activation)
        else:
            hidden = activate(projected[..., :n_hidden], activation) * projected[..., n_hidden:]
        if self.source.norm_after_mlp is None:
            return hidden
        return _normed_write(hidden, self.source.mlp_out[None], self.norm_eps)


def _by_head(z: Tensor) -> Tensor:
    """[b, H, t, dh] -> [H, b·t, dh]."""
    return z.transpose(0, 1).reshape(z.shape[1], -1, z.shape[-1])


def _normed_write(hidden: Tensor, weight: Tensor, eps: float) -> Tensor:
    """hidden [c, n, e] over the root mean square of what all of it writes together through `weight` [c, e, D].

    The gain of a norm behind a block is folded into its output projections, so this is the rest of that norm.
    """
    together = hidden.transpose(0, 1).flatten(1) @ weight.flatten(0, 1)
    return hidden * torch.rsqrt(together.square().mean(-1) + eps)[:, None]


def write_out(hidden: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """out [c, n, D] ← hidden [c, n, e] through the output projections [c, e, D], and the bias [D]. No gradients."""
    if len(weight) == 1:
        out[0] = linear(hidden[0], weight[0].T, bias)
    elif bias is None:
        torch.bmm(hidden, weight, out=out)
    else:
        torch.baddbmm(bias, hidden, weight, out=out)


@dataclass(frozen=True)
class FoldedWeights:
    """A `ModelWeights` made ready for edge masks. Computed once per weight mask; the model itself is not touched."""

    config: ModelConfig
    layers: tuple[FoldedLayer, ...]
    source: ModelWeights

    @classmethod
    @torch.no_grad()
    def of(cls, weights: ModelWeights) -> FoldedWeights:
        return cls(weights.config, tuple(_fold(layer, weights.config) for layer in weights.layers), weights)

    def centre(self, x: Tensor) -> Tensor:
        """A write as the folded layers expect it: without its mean over D, which LayerNorm would remove anyway."""
        return x - x.mean(-1, keepdim=True) if self.config.norm == "layer" else x

    def embed(self, tokens: Tensor) -> Tensor:
        """[b, t, D]: what the source `input` writes."""
        return self.centre(embed(self.source, tokens))

    def unembed(self, x: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Logits of the logits reader's input; see `unembed`."""
        return unembed(self.source, x, candidates)

    def unembed_blocks(self, x: Tensor, width: int) -> Iterator[tuple[int, Tensor]]:
        """The logits of x [m, D], `width` tokens of the vocabulary at a time: (the first one's id, [m, width])."""
        x = norm(x, self.config, self.source.final_norm, self.source.final_norm_bias)
        for start in range(0, self.config.d_vocab, width):
            yield start, _capped(x @ self.source.unembed[:, start : start + width], self.config)


def _fold(layer: LayerWeights, config: ModelConfig) -> FoldedLayer:
    heads, group = config.n_heads, config.queries_per_kv_head
    k, v = (w.repeat_interleave(group, dim=0) if group > 1 else w for w in (layer.k, layer.v))
    biases = [layer.q_bias, layer.k_bias, layer.v_bias]
    qkv = torch.cat([layer.q, k, v])
    qkv_bias = _fold_bias(
        None if biases[0] is None else torch.cat([b.repeat_interleave(heads // len(b), 0) for b in biases]),  # type: ignore[union-attr, arg-type]
        layer.norm1_bias,
        qkv,
    )
    into = layer.mlp_in if layer.mlp_gate is None else torch.cat([layer.mlp_gate, layer.mlp_in], dim=1)
    into_bias = layer.mlp_in_bias
    if layer.mlp_gate is not None and layer.mlp_gate_bias is not None and into_bias is not None:
        into_bias = torch.cat([layer.mlp_gate_bias, into_bias])

    def centred(w: Tensor | None, gain: Tensor | None = None) -> Tensor | None:
        if w is None or config.norm == "rms":
            return w if w is None or gain is None else w * gain
        return w - w.mean(-1, keepdim=True)

    o, out = centred(layer.o, layer.norm_after_attention), centred(layer.mlp_out, layer.norm_after_mlp)
    assert o is not None  # centred() returns None for None only
    assert out is not None
    return FoldedLayer(
        qkv=qkv * layer.norm1[:, None],
        qkv_bias=qkv_bias,
        o=o.contiguous(),
        o_bias=None if layer.o_bias is None else centred(layer.o_bias / heads),
        mlp_in=(into * layer.norm2[:, None]).contiguous(),
        mlp_in_bias=_fold_bias(into_bias, layer.norm2_bias, into),
        mlp_out=out.contiguous(),
        mlp_out_bias=centred(layer.mlp_out_bias),
        source=layer,
        norm_eps=config.norm_eps,
    )


def _fold_bias(bias: Tensor | None, norm_bias: Tensor | None, weight: Tensor) -> Tensor | None:
    """The projection's bias together with what the norm's bias sends through it."""
    if norm_bias is None:
        return bias
    through = (norm_bias @ weight).reshape(weight.shape[:-2] + weight.shape[-1:])
    return through if bias is None else bias + through


def root_mean_square_reciprocal(x: Tensor, eps: float) -> Tensor:
    """1/√(mean(x²) + eps) over the last axis, in one pass without a temporary of x's size."""
    length = torch.linalg.vector_norm(x, dim=-1)
    return torch.rsqrt(length.square_().mul_(1 / x.shape[-1]).add_(eps))
