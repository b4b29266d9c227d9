"""A masked forward written for clarity alone: one reader after the other, from the checkpoint's own weights.

Shares nothing with the engine: norms are not folded, writes not centred, no buffers, no shortcuts.
Source: the definition in arXiv 2407.03779, section 3: reader input = Σ_s [m·x_s + (1−m)·x̃_s].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from discogp.graph import ComputationGraph
from discogp.models.weights import ModelWeights


def _norm(x: Tensor, weights: ModelWeights, gain: Tensor, bias: Tensor | None) -> Tensor:
    config = weights.config
    if config.norm == "layer":
        x = x - x.mean(-1, keepdim=True)
    x = x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + config.norm_eps)
    return x * gain + (0 if bias is None else bias)


def _act(x: Tensor, name: str) -> Tensor:
    if name == "gelu_tanh":
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    assert name == "silu"
    return x * torch.sigmoid(x)


def _rotate(x: Tensor, theta: float) -> Tensor:
    """[b, t, dh]: dimension i turns with i + dh/2."""
    half = x.shape[-1] // 2
    out = torch.empty_like(x)
    for t in range(x.shape[1]):
        for i in range(half):
            angle = t / theta ** (i / half)
            a, b = x[:, t, i], x[:, t, i + half]
            out[:, t, i] = a * math.cos(angle) - b * math.sin(angle)
            out[:, t, i + half] = b * math.cos(angle) + a * math.sin(angle)
    return out


def slow_logits(
    weights: ModelWeights,
    graph: ComputationGraph,
    kept: set[str],
    tokens: Tensor,
    replacements: dict[str, Tensor] | None = None,
    written: dict[str, Tensor] | None = None,
) -> Tensor:
    """Logits [b, t, V]; `kept`: edge names; `replacements`: source -> [b, t, D]; `written` collects every output."""
    config = weights.config
    b, t = tokens.shape
    outputs: dict[str, Tensor] = written if written is not None else {}
    readers = set(graph.readers)

    def read(reader: str, sources: list[str]) -> Tensor:
        assert reader in readers
        total = torch.zeros(b, t, config.d_model)
        for source in sources:
            if f"{source}->{reader}" in kept:
                total = total + outputs[source]
            elif replacements is not None:
                total = total + replacements[source]
        return total

    embedded = weights.embed[tokens]
    if weights.positions is not None:
        embedded = embedded + weights.positions[:t]
    outputs["input"] = embedded
    order = ["input"]
    for index, layer in enumerate(weights.layers):
        sources = list(order)
        for head in range(config.n_heads):
            group = head // (config.n_heads // config.n_kv_heads)
            projected = {}
            for role, matrix, bias in (
                ("q", layer.q[head], None if layer.q_bias is None else layer.q_bias[head]),
                ("k", layer.k[group], None if layer.k_bias is None else layer.k_bias[group]),
                ("v", layer.v[group], None if layer.v_bias is None else layer.v_bias[group]),
            ):
                x = _norm(read(f"a{index}.h{head}<{role}>", sources), weights, layer.norm1, layer.norm1_bias)
                projected[role] = x @ matrix + (0 if bias is None else bias)
                if role != "v" and config.rotary_theta is not None:
                    projected[role] = _rotate(projected[role], config.rotary_theta)
            scores = projected["q"] @ projected["k"].transpose(1, 2) / math.sqrt(config.d_head)
            causal = torch.ones(t, t).tril().bool()
            z = scores.masked_fill(~causal, float("-inf")).softmax(-1) @ projected["v"]
            share = 0 if layer.o_bias is None else layer.o_bias / config.n_heads
            outputs[f"a{index}.h{head}"] = z @ layer.o[head] + share
        order += [f"a{index}.h{head}" for head in range(config.n_heads)]
        x = _norm(read(f"m{index}", order), weights, layer.norm2, layer.norm2_bias)
        hidden = x @ layer.mlp_in + (0 if layer.mlp_in_bias is None else layer.mlp_in_bias)
        if layer.mlp_gate is not None:
            hidden = _act(x @ layer.mlp_gate, config.activation) * hidden
        else:
            hidden = _act(hidden, config.activation)
        outputs[f"m{index}"] = hidden @ layer.mlp_out + (0 if layer.mlp_out_bias is None else layer.mlp_out_bias)
        order.append(f"m{index}")
    final = _norm(read("logits", order), weights, weights.final_norm, weights.final_norm_bias)
    return final @ weights.unembed
