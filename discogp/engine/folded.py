"""Weights made ready for edge masks, where every reader has an input of its own.

Axes: batch b, position t, tokens n = b·t, query head H, residual stream D, head dh, MLP neuron M, vocabulary V.

Norm gains and biases are folded into the projection behind them, and, for LayerNorm models, everything that writes to
the residual stream is centred. Then each norm is only a division by a root mean square, which can be done after the
projection, on dh numbers instead of D.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discogp.engine.attention import attend, attend_along
from discogp.engine.kernels import activate, capped, linear, norm
from discogp.engine.plain import embed, unembed
from discogp.engine.prefixes import Prefixes
from discogp.models.weights import LayerWeights, ModelConfig, ModelWeights


@dataclass(frozen=True)
class FoldedLayer:
    """One block for readers with inputs of their own: norms are bare divisions by the root mean square."""

    qkv: Float[Tensor, "qkv D dh"]
    """[3H, D, dh]: queries, keys, values of every *query* head; grouped keys and values are repeated."""
    qkv_bias: Float[Tensor, "_ dh"] | None
    """[3H, dh]"""
    o: Float[Tensor, "H dh D"]
    """[H, dh, D]"""
    o_bias: Float[Tensor, "D"] | None
    """[D], already one head's share."""
    mlp_in: Float[Tensor, "D in"]
    """[D, M], or [D, 2M] for gated MLPs: the gate, then the input."""
    mlp_in_bias: Float[Tensor, "in"] | None
    mlp_out: Float[Tensor, "M D"]
    """[M, D]"""
    mlp_out_bias: Float[Tensor, "D"] | None

    source: LayerWeights
    """The weights as they were before folding."""
    norm_eps: float

    def attention(self, projected: Float[Tensor, "qkv b t dh"]) -> Float[Tensor, "H n dh"]:
        """What heads hand to their output projection, [H, n, dh], from projected and normed inputs [3H, b, t, dh]."""
        if self.qkv_bias is not None:
            projected = projected + self.qkv_bias[:, None, None]
        q, k, v = projected.transpose(0, 1).chunk(3, dim=1)
        return self.written(_by_head(attend(q, k, v, self.source, self.norm_eps)))

    def attention_along(self, projected: Float[Tensor, "qkv n dh"], prefixes: Prefixes) -> Float[Tensor, "H n dh"]:
        """The same for [3H, n, dh] of the different beginnings of a batch's prompts -> [H, n, dh]."""
        if self.qkv_bias is not None:
            projected = projected + self.qkv_bias[:, None]
        q, k, v = projected.chunk(3)
        return self.written(attend_along(q, k, v, self.source, self.norm_eps, prefixes))

    def attention_at(
        self,
        queries: Float[Tensor, "H b dh"],
        keys_values: Float[Tensor, "kv b t dh"],
        last: Int[Tensor, "b"],
        heads: int,
    ) -> Float[Tensor, "H b dh"]:
        """The same for one position per prompt: queries [H, b, dh], keys and values [2H, b, t, dh] -> [H, b, dh]."""
        if self.qkv_bias is not None:
            queries = queries + self.qkv_bias[:heads, None]
            keys_values = keys_values + self.qkv_bias[heads:, None, None]
        q = queries.transpose(0, 1).unsqueeze(2)
        k, v = keys_values.transpose(0, 1).chunk(2, dim=1)
        return self.written(_by_head(attend(q, k, v, self.source, self.norm_eps, last)))

    def written(self, z: Float[Tensor, "H n dh"]) -> Float[Tensor, "H n dh"]:
        """What is left of a norm behind attention to do on z [H, n, dh]: the division by the norm of the heads' sum."""
        return z if self.source.norm_after_attention is None else _normed_write(z, self.source.o, self.norm_eps)

    def of_heads(self, chosen: Int[Tensor, "qkv"]) -> FoldedLayer:
        """The attention of some heads, without projections; `chosen` [3h]: their places among the 3H readers."""
        bias = None if self.qkv_bias is None else self.qkv_bias[chosen]
        return replace(self, qkv=self.qkv[:0], qkv_bias=bias, o=self.o[:0])

    def mlp_of(self, x: Float[Tensor, "n D"], activation: str) -> Float[Tensor, "1 n M"]:
        """What an MLP hands to its output projection, [1, n, M], from its normed input [n, D]. No gradients."""
        if self.source.mlp_gate is not None:
            return self.mlp_hidden(linear(x, self.mlp_in.T, self.mlp_in_bias)[None], activation)
        return self._mlp_written(linear(x, self.mlp_in.T, self.mlp_in_bias, activation)[None])

    def mlp_hidden(self, projected: Float[Tensor, "1 n in"], activation: str) -> Float[Tensor, "1 n M"]:
        """The same from [1, n, M or 2M], what the input projection and its bias made of that."""
        n_hidden = self.mlp_out.shape[0]
        if projected.shape[-1] == n_hidden:
            hidden = activate(projected, activation)
        else:
            hidden = activate(projected[..., :n_hidden], activation) * projected[..., n_hidden:]
        return self._mlp_written(hidden)

    def _mlp_written(self, hidden: Float[Tensor, "1 n M"]) -> Float[Tensor, "1 n M"]:
        if self.source.norm_after_mlp is None:
            return hidden
        return _normed_write(hidden, self.source.mlp_out[None], self.norm_eps)


def _by_head(z: Float[Tensor, "b H t dh"]) -> Float[Tensor, "H n dh"]:
    """[b, H, t, dh] -> [H, b·t, dh]."""
    return z.transpose(0, 1).reshape(z.shape[1], -1, z.shape[-1])


def _normed_write(hidden: Float[Tensor, "c n e"], weight: Float[Tensor, "c e D"], eps: float) -> Float[Tensor, "c n e"]:
    """hidden [c, n, e] over the root mean square of what all of it writes together through `weight` [c, e, D].

    The gain of a norm behind a block is folded into its output projections, so this is the rest of that norm.
    """
    together = hidden.transpose(0, 1).flatten(1) @ weight.flatten(0, 1)
    return hidden * torch.rsqrt(together.square().mean(-1) + eps)[:, None]


def write_out(
    hidden: Float[Tensor, "c n e"],
    weight: Float[Tensor, "c e D"],
    bias: Float[Tensor, "D"] | None,
    out: Float[Tensor, "c n D"],
) -> None:
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

    def centre(self, x: Float[Tensor, "*n D"]) -> Float[Tensor, "*n D"]:
        """A write as the folded layers expect it: without its mean over D, which LayerNorm would remove anyway."""
        return x - x.mean(-1, keepdim=True) if self.config.norm == "layer" else x

    def embed(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b t D"]:
        """[b, t, D]: what the source `input` writes."""
        return self.centre(embed(self.source, tokens))

    def unembed(
        self, x: Float[Tensor, "*b D"], candidates: Int[Tensor, "*b C"] | None = None
    ) -> Float[Tensor, "*b V"] | Float[Tensor, "*b C"]:
        """Logits of the logits reader's input; see `unembed`."""
        return unembed(self.source, x, candidates)

    def unembed_blocks(self, x: Float[Tensor, "m D"], width: int) -> Iterator[tuple[int, Float[Tensor, "m _"]]]:
        """The logits of x [m, D], `width` tokens of the vocabulary at a time: (the first one's id, [m, width])."""
        x = norm(x, self.config, self.source.final_norm, self.source.final_norm_bias)
        for start in range(0, self.config.d_vocab, width):
            yield start, capped(x @ self.source.unembed[:, start : start + width], self.config)


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


def root_mean_square_reciprocal(x: Float[Tensor, "*n D"], eps: float) -> Float[Tensor, "*n"]:
    """1/√(mean(x²) + eps) over the last axis, in one pass without a temporary of x's size."""
    length = torch.linalg.vector_norm(x, dim=-1)
    return torch.rsqrt(length.square_().mul_(1 / x.shape[-1]).add_(eps))
