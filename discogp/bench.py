"""How fast the engine is, as a ratio of two things timed in turn in one run, so that a busy machine hits both alike.

Models have random weights: speed does not depend on them.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from discogp.compute import plain_block, unembed
from discogp.errors import ConfigError
from discogp.masked_transformer import MaskedTransformer
from discogp.methods.discogp import EdgePhase
from discogp.models.weights import LayerWeights, ModelConfig, ModelWeights
from discogp.settings import PhaseConfig, SearchConfig
from discogp.tasks.encoding import Prompts


@dataclass(frozen=True)
class Shape:
    """Layers, heads, d_model, d_mlp, vocabulary, and the batch that the shape is usually measured with."""

    n_layers: int
    n_heads: int
    d_model: int
    d_mlp: int
    d_vocab: int
    batch: int


SHAPES = {"gpt2-small": Shape(12, 12, 768, 3072, 50257, 16), "small": Shape(6, 8, 256, 1024, 5000, 32)}


@dataclass(frozen=True)
class StepBench:
    """Seconds (all repeats, in turn) and their medians' ratio. Peak memory of the whole process in MB."""

    shape: str
    batch: int
    length: int
    threads: int
    step_seconds: tuple[float, ...]
    plain_seconds: tuple[float, ...]
    n_edges: int
    peak_mb: float

    @property
    def ratio(self) -> float:
        return statistics.median(self.step_seconds) / statistics.median(self.plain_seconds)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "step_median": statistics.median(self.step_seconds),
            "plain_median": statistics.median(self.plain_seconds),
            "ratio": self.ratio,
        }

    def __str__(self) -> str:
        def spread(seconds: tuple[float, ...]) -> str:
            return f"{statistics.median(seconds):.3f} s ({min(seconds):.3f}–{max(seconds):.3f})"

        return (
            f"{self.shape}, {self.n_edges:,} edges, batch {self.batch} × {self.length} tokens, {self.threads} threads, "
            f"{len(self.step_seconds)} repeats\n"
            f"edge step (kept pass, complement pass, backward, optimizer): {spread(self.step_seconds)}\n"
            f"two plain forward and backward passes:                       {spread(self.plain_seconds)}\n"
            f"ratio of medians: {self.ratio:.2f}; peak memory {self.peak_mb:,.0f} MB"
        )


def random_model(shape: Shape, device: str = "cpu", seed: int = 0) -> MaskedTransformer:
    """A GPT-2-architecture model of a shape, with small random weights."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return (torch.randn(*size, generator=generator) * 0.02).to(device)

    heads, d, hidden = shape.n_heads, shape.d_model, shape.d_mlp
    d_head = d // heads
    config = ModelConfig(
        "gpt2", shape.n_layers, heads, heads, d, d_head, hidden, shape.d_vocab, 1024, "layer", 1e-5, "gelu_tanh",
        gated=False, rotary_theta=None,
    )  # fmt: skip

    def layer() -> LayerWeights:
        return LayerWeights(
            norm1=1 + normal(d), norm1_bias=normal(d), q=normal(heads, d, d_head), k=normal(heads, d, d_head),
            v=normal(heads, d, d_head), o=normal(heads, d_head, d), q_bias=normal(heads, d_head),
            k_bias=normal(heads, d_head), v_bias=normal(heads, d_head), o_bias=normal(d), norm2=1 + normal(d),
            norm2_bias=normal(d), mlp_in=normal(d, hidden), mlp_in_bias=normal(hidden), mlp_gate=None,
            mlp_gate_bias=None, mlp_out=normal(hidden, d), mlp_out_bias=normal(d),
        )  # fmt: skip

    weights = ModelWeights(
        config, normal(shape.d_vocab, d), normal(1024, d), tuple(layer() for _ in range(shape.n_layers)),
        1 + normal(d), normal(d), normal(d, shape.d_vocab),
    )  # fmt: skip
    return MaskedTransformer(weights, "random")


def bench_step(
    shape: str, batch: int | None = None, length: int = 16, repeats: int = 7, device: str = "cpu"
) -> StepBench:
    """An edge step with the paper's objective against two plain passes (gradients to inputs, candidate logits only)."""
    if shape not in SHAPES:
        raise ConfigError(f"there is no shape {shape!r}; allowed: {', '.join(SHAPES)}")
    for name, value in (("batch", batch or 1), ("length", length), ("repeats", repeats)):
        if value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1")
    size = batch or SHAPES[shape].batch
    model = random_model(SHAPES[shape], device)
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, model.config.d_vocab, (size, length), generator=generator)
    answers = torch.randint(0, model.config.d_vocab, (size, 2), generator=generator)
    lengths = torch.full((size,), length)
    prompts = Prompts(tokens, lengths, None, answers[:, :1], answers[:, 1:], ()).to(device)
    search = SearchConfig(objective="task", edges=PhaseConfig())
    phase = EdgePhase(model, prompts, search, torch.Generator(device=device).manual_seed(0))

    def plain() -> None:
        for _ in range(2):
            _plain_pass(model.weights, prompts)

    steps, plains = [], []
    for action in (lambda: phase.step(prompts, None, 0), plain):
        _time(action, model.device)  # warm up: buffers, kernels
    for _ in range(repeats):
        steps.append(_time(lambda: phase.step(prompts, None, 0), model.device))
        plains.append(_time(plain, model.device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return StepBench(
        shape, size, length, torch.get_num_threads(), tuple(steps), tuple(plains), model.graph.n_edges, peak
    )


def _plain_pass(weights: ModelWeights, prompts: Prompts) -> None:
    """The yardstick: the unmasked model forward, and backward to its inputs."""
    t = prompts.tokens.shape[1]
    x = weights.embed[prompts.tokens]
    if weights.positions is not None:
        x = x + weights.positions[:t]
    x.requires_grad_()
    out = x
    for layer in weights.layers:
        out = plain_block(out, layer, weights.config)
    ids = torch.cat([prompts.correct, prompts.wrong], 1)
    logits = unembed(weights, out[:, -1], ids)
    F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device)).backward()


def _time(action: Callable[[], object], device: torch.device) -> float:
    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    began = time.perf_counter()
    action()
    wait()
    return time.perf_counter() - began
