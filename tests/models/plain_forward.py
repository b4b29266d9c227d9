"""A forward pass over `ModelWeights`, written as plainly as can be and independent of the engine's."""

from __future__ import annotations

import torch
from torch import Tensor

from discogp.models.weights import ModelConfig, ModelWeights

ACTIVATIONS = {
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "relu": torch.relu,
}


def plain_logits(weights: ModelWeights, tokens: Tensor) -> Tensor:
    """Logits [B, T, V] for token ids [B, T] without padding."""
    config = weights.config
    length = tokens.shape[1]
    x = weights.embed[tokens]
    if weights.positions is not None:
        x = x + weights.positions[:length]
    for layer in weights.layers:
        y = _norm(config, x, layer.norm1, layer.norm1_bias)
        heads = []
        for head in range(config.n_heads):
            shared = head // config.queries_per_kv_head
            q = _project(y, layer.q, layer.q_bias, head)
            k = _project(y, layer.k, layer.k_bias, shared)
            v = _project(y, layer.v, layer.v_bias, shared)
            if config.rotary_theta is not None:
                q, k = _rotate(config, q), _rotate(config, k)
            scores = q @ k.transpose(1, 2) / config.d_head**0.5
            allowed = torch.ones(length, length, dtype=torch.bool).tril()
            pattern = scores.masked_fill(~allowed, -torch.inf).softmax(-1)
            heads.append(pattern @ v @ layer.o[head])
        x = x + torch.stack(heads).sum(0)
        if layer.o_bias is not None:
            x = x + layer.o_bias
        y = _norm(config, x, layer.norm2, layer.norm2_bias)
        act = ACTIVATIONS[config.activation]
        inner = _linear(y, layer.mlp_in, layer.mlp_in_bias)
        gate = None if layer.mlp_gate is None else _linear(y, layer.mlp_gate, layer.mlp_gate_bias)
        inner = act(inner) if gate is None else act(gate) * inner
        x = x + _linear(inner, layer.mlp_out, layer.mlp_out_bias)
    return _norm(config, x, weights.final_norm, weights.final_norm_bias) @ weights.unembed


def _linear(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    return x @ matrix if bias is None else x @ matrix + bias


def _project(x: Tensor, matrices: Tensor, biases: Tensor | None, head: int) -> Tensor:
    return _linear(x, matrices[head], None if biases is None else biases[head])


def _norm(config: ModelConfig, x: Tensor, gain: Tensor, bias: Tensor | None) -> Tensor:
    if config.norm == "layer":
        x = x - x.mean(-1, keepdim=True)
    x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + config.norm_eps) * gain
    return x if bias is None else x + bias


def _rotate(config: ModelConfig, x: Tensor) -> Tensor:
    frequencies = config.rotary_frequencies()
    assert frequencies is not None
    angles = torch.arange(x.shape[1]).float()[:, None] * frequencies
    cos, sin = angles.cos(), angles.sin()
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
