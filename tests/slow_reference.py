"""A masked forward written for clarity alone: one reader after the other, from the checkpoint's own weights.

Shares nothing with the engine: norms are not folded, writes not centred, no buffers, no shortcuts.
Source: the definition in arXiv 2407.03779, section 3: reader input = Σ_s [m·x_s + (1−m)·x̃_s].
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from discogp.circuits.graph import ComputationGraph
from discogp.models.weights import AttentionConfig, ModelWeights, Rotary


def _norm(x: Tensor, weights: ModelWeights, gain: Tensor, bias: Tensor | None) -> Tensor:
    config = weights.config
    if config.norm == "layer":
        x = x - x.mean(-1, keepdim=True)
    x = x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + config.norm_eps)
    return x * gain + (0 if bias is None else bias)


def _act(x: Tensor, name: str) -> Tensor:
    if name == "gelu_tanh":
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    if name == "gelu":
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
    if name == "relu":
        return x * (x > 0)
    assert name == "silu"
    return x * torch.sigmoid(x)


def _rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """[b, t, dh]: of the first `dims` dimensions, i turns with i + dims/2."""
    half = rotary.dims // 2
    out = x.clone()
    for t in range(x.shape[1]):
        for i in range(half):
            speed = rotary.theta ** (-i / half) if rotary.inv_freq is None else rotary.inv_freq[i]
            cos, sin = rotary.scale * math.cos(t * speed), rotary.scale * math.sin(t * speed)
            a, b = x[:, t, i], x[:, t, i + half]
            out[:, t, i] = a * cos - b * sin
            out[:, t, i + half] = b * cos + a * sin
    return out


def _attend(q: Tensor, k: Tensor, v: Tensor, how: AttentionConfig) -> Tensor:
    """[b, t, dh], one query after the other."""
    out = torch.zeros_like(v)
    for t in range(q.shape[1]):
        first = 0 if how.window is None else max(0, t - how.window + 1)
        scores = (k[:, first : t + 1] * q[:, t : t + 1]).sum(-1)
        scores = scores / math.sqrt(q.shape[-1]) if how.scale is None else scores * how.scale
        if how.cap is not None:
            scores = how.cap * torch.tanh(scores / how.cap)
        out[:, t] = (scores.softmax(-1)[..., None] * v[:, first : t + 1]).sum(1)
    return out


def _bare_rms(x: Tensor, weights: ModelWeights) -> Tensor:
    return torch.sqrt(x.pow(2).mean(-1, keepdim=True) + weights.config.norm_eps)


def slow_logits(
    weights: ModelWeights,
    graph: ComputationGraph,
    kept: set[str] | Mapping[str, Tensor],
    tokens: Tensor,
    replacements: dict[str, Tensor] | None = None,
    written: dict[str, Tensor] | None = None,
) -> Tensor:
    """Logits [b, t, V]; `kept`: edge names, or how much of each edge (0–1) is kept.

    `replacements`: source -> [b, t, D]; `written` collects every output.
    """
    config = weights.config
    b, t = tokens.shape
    outputs: dict[str, Tensor] = written if written is not None else {}
    readers = set(graph.readers)

    def read(reader: str, sources: list[str]) -> Tensor:
        assert reader in readers
        total = torch.zeros(b, t, config.d_model)
        for source in sources:
            name = f"{source}->{reader}"
            share = kept[name] if isinstance(kept, Mapping) else float(name in kept)
            total = total + share * outputs[source]
            if replacements is not None:
                total = total + (1 - share) * replacements[source]
        return total

    embedded = weights.embed[tokens] * config.embed_scale
    if weights.positions is not None:
        embedded = embedded + weights.positions[:t]
    outputs["input"] = embedded
    order = ["input"]
    for index, layer in enumerate(weights.layers):
        sources = list(order)
        for head in range(config.n_heads):
            group = head // (config.n_heads // config.n_kv_heads)
            projected = {}
            for role, matrix, bias, gain in (
                ("q", layer.q[head], None if layer.q_bias is None else layer.q_bias[head], layer.norm_q),
                ("k", layer.k[group], None if layer.k_bias is None else layer.k_bias[group], layer.norm_k),
                ("v", layer.v[group], None if layer.v_bias is None else layer.v_bias[group], None),
            ):
                x = _norm(read(f"a{index}.h{head}<{role}>", sources), weights, layer.norm1, layer.norm1_bias)
                x = x @ matrix + (0 if bias is None else bias)
                x = x if gain is None else x / _bare_rms(x, weights) * gain
                turns = role != "v" and layer.attention.rotary is not None
                projected[role] = _rotate(x, layer.attention.rotary) if turns else x  # type: ignore[arg-type]
            z = _attend(projected["q"], projected["k"], projected["v"], layer.attention)
            share = 0 if layer.o_bias is None else layer.o_bias / config.n_heads
            outputs[f"a{index}.h{head}"] = z @ layer.o[head] + share
        if layer.norm_after_attention is not None:
            total = torch.zeros(b, t, config.d_model)
            for head in range(config.n_heads):
                total = total + outputs[f"a{index}.h{head}"]
            for head in range(config.n_heads):
                name = f"a{index}.h{head}"
                outputs[name] = outputs[name] / _bare_rms(total, weights) * layer.norm_after_attention
        heads = [f"a{index}.h{head}" for head in range(config.n_heads)]
        mlp_sources = order if config.parallel else order + heads
        x = _norm(read(f"m{index}", mlp_sources), weights, layer.norm2, layer.norm2_bias)
        hidden = x @ layer.mlp_in + (0 if layer.mlp_in_bias is None else layer.mlp_in_bias)
        if layer.mlp_gate is not None:
            hidden = _act(x @ layer.mlp_gate, config.activation) * hidden
        else:
            hidden = _act(hidden, config.activation)
        written = hidden @ layer.mlp_out + (0 if layer.mlp_out_bias is None else layer.mlp_out_bias)
        if layer.norm_after_mlp is not None:
            written = written / _bare_rms(written, weights) * layer.norm_after_mlp
        outputs[f"m{index}"] = written
        order += [*heads, f"m{index}"]
    final = _norm(read("logits", order), weights, weights.final_norm, weights.final_norm_bias)
    logits = final @ weights.unembed
    return logits if config.logit_cap is None else config.logit_cap * torch.tanh(logits / config.logit_cap)
