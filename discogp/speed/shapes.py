"""What is measured on: models of a shape with random weights (speed does not depend on them), and random prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from discogp.engine.masked_transformer import MaskedTransformer
from discogp.engine.memory import MB, available_mb
from discogp.errors import ConfigError
from discogp.models.loading import usable_device
from discogp.models.weights import AttentionConfig, LayerWeights, ModelConfig, ModelWeights, Rotary
from discogp.tasks.base import Example
from discogp.tasks.encoded import Prompts


@dataclass(frozen=True)
class Shape:
    """Layers, heads, d_model, d_mlp, vocabulary, and the batch that the shape is usually measured with."""

    n_layers: int
    n_heads: int
    d_model: int
    d_mlp: int
    d_vocab: int
    batch: int
    length: int = 16
    n_kv_heads: int | None = None
    """Of Llama's architecture, with so many key-value heads; None: GPT-2's."""


POSITIONS = 1024
SHAPES = {
    "gpt2-small": Shape(12, 12, 768, 3072, 50257, 16),
    "small": Shape(6, 8, 256, 1024, 5000, 32),
    "smollm2": Shape(30, 9, 576, 1536, 49152, 16, n_kv_heads=3),
}


@dataclass(frozen=True)
class Case:
    """A model of a shape and a batch of prompts on it."""

    name: str
    model: MaskedTransformer
    prompts: Prompts

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def setting(self) -> str:
        batch, length = self.prompts.tokens.shape
        return f"{self.name}, {self.model.graph.n_edges:,} edges, batch {batch} × {length} tokens, {self.device}"


def case(shape: str, batch: int | None, length: int | None, repeats: int, device: str) -> Case:
    """ConfigError for an unknown shape, a number outside its range or a device that is not there."""
    if shape not in SHAPES:
        raise ConfigError(f"there is no shape {shape!r}; allowed: {', '.join(SHAPES)}")
    for name, value, most in (("batch", batch, 4096), ("length", length, POSITIONS), ("repeats", repeats, 1000)):
        if value is not None and not 1 <= value <= most:
            raise ConfigError(f"{name} is {value}; it must be between 1 and {most}")
    where = usable_device(device)
    size, positions = batch or SHAPES[shape].batch, length or SHAPES[shape].length
    _check_room(SHAPES[shape], size, positions, where)
    model = random_model(SHAPES[shape], where)
    return Case(shape, model, random_prompts(model, size, positions))


def random_prompts(model: MaskedTransformer, size: int, length: int) -> Prompts:
    """Prompts and answers of random tokens, all of one length."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, model.config.d_vocab, (size, length), generator=generator)
    answers = torch.randint(0, model.config.d_vocab, (size, 2), generator=generator)
    lengths = torch.full((size,), length)
    examples = (Example("random tokens", None, (" right",), (" wrong",)),) * size
    return Prompts(tokens, lengths, None, answers[:, :1], answers[:, 1:], examples).to(model.device)


def _check_room(shape: Shape, batch: int, length: int, device: torch.device) -> None:
    """ConfigError where the outputs of all sources alone would not fit into memory."""
    sources = shape.n_layers * (shape.n_heads + 1) + 1
    needed, free = 4 * sources * batch * length * shape.d_model / MB, available_mb(device)
    if needed > free:
        raise ConfigError(
            f"batch {batch} × {length} tokens needs more than {needed:,.0f} MB and {free:,.0f} are free; choose fewer"
        )


def random_model(shape: Shape, device: str | torch.device = "cpu", seed: int = 0) -> MaskedTransformer:
    """A model of a shape, of GPT-2's or Llama's architecture, with small random weights."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return (torch.randn(*size, generator=generator) * 0.02).to(device)

    return MaskedTransformer((_gpt2 if shape.n_kv_heads is None else _llama)(shape, normal), "random")


def _llama(shape: Shape, normal: Callable[..., Tensor]) -> ModelWeights:
    """RMSNorm, rotary positions, a gated MLP, no biases."""
    heads, d, hidden = shape.n_heads, shape.d_model, shape.d_mlp
    d_head, kv_heads = d // heads, shape.n_kv_heads or heads
    config = ModelConfig(
        "llama", shape.n_layers, heads, kv_heads, d, d_head, hidden, shape.d_vocab, POSITIONS, "rms", 1e-5, "silu",
        gated=True,
    )  # fmt: skip

    def layer() -> LayerWeights:
        return LayerWeights(
            norm1=1 + normal(d), norm1_bias=None, q=normal(heads, d, d_head), k=normal(kv_heads, d, d_head),
            v=normal(kv_heads, d, d_head), o=normal(heads, d_head, d), q_bias=None, k_bias=None, v_bias=None,
            o_bias=None, norm2=1 + normal(d), norm2_bias=None, mlp_in=normal(d, hidden), mlp_in_bias=None,
            mlp_gate=normal(d, hidden), mlp_gate_bias=None, mlp_out=normal(hidden, d), mlp_out_bias=None,
            attention=AttentionConfig(rotary=Rotary(10_000.0, d_head)),
        )  # fmt: skip

    layers = tuple(layer() for _ in range(shape.n_layers))
    return ModelWeights(config, normal(shape.d_vocab, d), None, layers, 1 + normal(d), None, normal(d, shape.d_vocab))


def _gpt2(shape: Shape, normal: Callable[..., Tensor]) -> ModelWeights:
    heads, d, hidden = shape.n_heads, shape.d_model, shape.d_mlp
    d_head = d // heads
    config = ModelConfig(
        "gpt2", shape.n_layers, heads, heads, d, d_head, hidden, shape.d_vocab, POSITIONS, "layer", 1e-5, "gelu_tanh",
        gated=False,
    )  # fmt: skip

    def layer() -> LayerWeights:
        return LayerWeights(
            norm1=1 + normal(d), norm1_bias=normal(d), q=normal(heads, d, d_head), k=normal(heads, d, d_head),
            v=normal(heads, d, d_head), o=normal(heads, d_head, d), q_bias=normal(heads, d_head),
            k_bias=normal(heads, d_head), v_bias=normal(heads, d_head), o_bias=normal(d), norm2=1 + normal(d),
            norm2_bias=normal(d), mlp_in=normal(d, hidden), mlp_in_bias=normal(hidden), mlp_gate=None,
            mlp_gate_bias=None, mlp_out=normal(hidden, d), mlp_out_bias=normal(d),
        )  # fmt: skip

    return ModelWeights(
        config, normal(shape.d_vocab, d), normal(POSITIONS, d), tuple(layer() for _ in range(shape.n_layers)),
        1 + normal(d), normal(d), normal(d, shape.d_vocab),
    )  # fmt: skip
