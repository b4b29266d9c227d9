"""How much memory and time a search of DiscoGP will take, before it is started.

Memory is counted from the sizes of the buffers that the engine allocates; time is measured, by taking one step of each
phase and multiplying. Axes: tokens in flight n, sources P, readers a layer r, residual stream D, vocabulary V.
Figures are of what the search adds to a process that has loaded the model; in bytes inside, in MB outside.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from discogp.circuits.circuit import Circuit
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.engine.memory import MB, available_mb
from discogp.errors import ConfigError
from discogp.evaluation.scorer import Evaluator, evaluation_bytes
from discogp.methods.base import Estimate
from discogp.methods.discogp.edge_phase import EdgePhase
from discogp.methods.discogp.phase import Phase
from discogp.methods.discogp.settings import SearchConfig
from discogp.methods.discogp.weight_phase import WeightPhase
from discogp.methods.discogp.weight_units import WeightUnits
from discogp.models.weights import ModelConfig
from discogp.prompts.prepare import TaskData

# Copies of the logits that a loss over the whole vocabulary keeps for its backward pass.
_LOGIT_COPIES = 6


def estimate(
    model: MaskedTransformer, data: TaskData, config: SearchConfig, memory_limit_mb: float | None = None
) -> Estimate:
    """Memory of a search with these settings; with `micro_batch` 0, of the largest that fits."""
    free = available_mb(model.device) if memory_limit_mb is None else memory_limit_mb
    most = min(config.batch_size, len(data.train))
    size = min(config.micro_batch, most) or most
    found = Estimate(_parts(model, data, config, size), free, size)
    while not found.fits and not config.micro_batch and size > 1:
        size = -(-size // 2)
        found = Estimate(_parts(model, data, config, size), free, size)
    return found


def fitting(
    model: MaskedTransformer, data: TaskData, config: SearchConfig, memory_limit_mb: float | None = None
) -> SearchConfig:
    """The settings with a micro-batch that fits. ConfigError, with what would fit, if none does."""
    found = estimate(model, data, config, memory_limit_mb)
    if found.fits:
        whole = config.micro_batch or found.micro_batch == min(config.batch_size, len(data.train))
        return config if whole else replace(config, micro_batch=found.micro_batch)
    ways = {
        "micro_batch=1": {"micro_batch": 1},
        "recompute=true": {"micro_batch": 1, "recompute": True},
        "weights.granularity=neuron": {"weights": replace(config.weights, granularity="neuron"), "recompute": True},
        "mask=edges": {"mask": "edges", "micro_batch": 1, "recompute": True},
    }
    would = [
        name
        for name, changes in ways.items()
        if estimate(model, data, replace(config, **changes), memory_limit_mb).fits  # type: ignore[arg-type]
    ]
    advice = f"these settings would fit: {' or '.join(would)}" if would else "take a smaller model or fewer prompts"
    raise ConfigError(f"this search does not fit into memory: {found}; {advice}")


def measured(model: MaskedTransformer, data: TaskData, config: SearchConfig, found: Estimate) -> Estimate:
    """The estimate with its time: one step of each phase and one evaluation are taken, and thrown away."""
    config = replace(config, micro_batch=found.micro_batch)
    train, searched = data.train.to(model.device), model.in_precision(config.precision)
    began = time.monotonic()
    evaluator = Evaluator(model, data.validation, config.ablation)
    seconds = time.monotonic() - began
    kinds: dict[str, list[type[EdgePhase] | type[WeightPhase]]]
    kinds = {"edges": [EdgePhase], "weights": [WeightPhase], "both": [WeightPhase, EdgePhase]}
    for kind in kinds[config.mask]:
        began = time.monotonic()
        phase = kind(searched, train, config, torch.Generator(device=model.device).manual_seed(config.seed))
        seconds += time.monotonic() - began
        seconds += phase.config.all_steps * _step_seconds(phase, model, data, config)
        seconds += len(phase.config.evaluated_at(config.evaluations)) * _evaluation_seconds(evaluator, phase, model)
        del phase
    return replace(found, seconds=seconds)


def _step_seconds(phase: Phase, model: MaskedTransformer, data: TaskData, config: SearchConfig) -> float:
    batch = data.train.subset(range(min(config.batch_size, len(data.train)))).to(model.device)
    full = None if config.objective == "task" else model.logits(batch.tokens, batch.last).log_softmax(-1)
    times = []
    for step in range(3):  # the first fills caches and buffers
        began = time.monotonic()
        phase.step(batch, full, step)
        times.append(time.monotonic() - began)
    return min(times[1:])


def _evaluation_seconds(evaluator: Evaluator, phase: Phase, model: MaskedTransformer) -> float:
    thresholded = phase.thresholded()
    searched = "edges" if thresholded.weight_masks is None else "weights"
    circuit = Circuit(
        model.graph, thresholded.edge_mask, thresholded.edge_logits, thresholded.weight_masks, searched=searched
    )
    began = time.monotonic()
    evaluator.evaluate(circuit)
    return time.monotonic() - began


# ------------------------------------------------------------------- memory


def _parts(model: MaskedTransformer, data: TaskData, config: SearchConfig, micro_batch: int) -> dict[str, float]:
    """Bytes by part, of the phase that takes more. What one step or one evaluation has freed serves the next."""
    length = data.train.tokens.shape[1]
    rows = data.train.most_rows(micro_batch)
    whole = config.objective != "task" or data.train.steps is not None
    one = (model, rows, length, config, whole)
    phases: list[dict[str, float]] = []
    if config.mask != "edges":
        phases.append({"masks": _weight_masks(model, config), "passing": _plain_step(*one)})
    if config.mask != "weights":
        folded = 0 if config.mask == "edges" else 2 * model.weights.n_maskable_params * _element(model, config)
        phases.append({"masks": folded, "buffers": _edge_buffers(*one[:4]), "passing": _edge_step(*one)})
    for phase in phases:
        if config.precision == "bf16":
            # The copy of the model that is searched, plain and folded.
            phase["masks"] += 2 * (model.weights.n_params + model.weights.n_maskable_params)
        phase["passing"] = max(phase["passing"], _evaluation(model, data, config))
        if config.objective != "task":
            phase["full model's answers"] = data.train.n_rows * model.config.d_vocab * 4
    largest = max(phases, key=lambda phase: sum(phase.values()))
    return {name: value / MB for name, value in largest.items()}


def _element(model: MaskedTransformer, config: SearchConfig) -> int:
    return model.weights.embed.element_size() if config.precision == "fp32" else 2


def _weight_masks(model: MaskedTransformer, config: SearchConfig) -> float:
    """Logits, gradient and two moments in fp32, the sample in a byte; and the weights that the model runs on."""
    units = WeightUnits(model.weights, config.weights)
    return units.n_units * 17 + sum(covered.weight.numel() for covered in units.carriers()) * _element(model, config)


def _edge_buffers(model: MaskedTransformer, rows: int, length: int, config: SearchConfig) -> float:
    """The masked pass's workspaces, which stay."""
    graph, wide = model.graph, model.graph.readers_per_layer
    inputs = wide if config.recompute else (graph.n_layers - 1) * wide + 2 * graph.n_heads
    # Two buffers of sources' gradients take turns: of those before the last layer, and before the one before it.
    gradients = sum(graph.head_columns(max(0, graph.n_layers - back)).start for back in (1, 2))
    vectors = graph.n_sources + gradients + inputs + 2 * wide
    return _element(model, config) * vectors * rows * length * model.config.d_model


def _edge_step(model: MaskedTransformer, rows: int, length: int, config: SearchConfig, whole: bool) -> float:
    """What autograd keeps of every block, and counterfactuals' outputs."""
    shape, n = model.config, rows * length
    other = 0.0
    if config.ablation == "resample":  # and a copy of those of the prompts that the complement is checked on
        other = model.graph.n_sources * shape.d_model * (1 + config.edges.completeness_share)
    kept = _element(model, config) * n * (shape.n_layers * _kept_by_a_block(shape) + other)
    return kept + _losses(shape, rows, whole)


def _plain_step(model: MaskedTransformer, rows: int, length: int, config: SearchConfig, whole: bool) -> float:
    shape = model.config
    kept = shape.n_layers * _kept_by_a_block(shape)
    if config.recompute:
        kept = _kept_by_a_block(shape) + shape.n_layers * shape.d_model
    return _element(model, config) * rows * length * kept + _losses(shape, rows, whole)


def _kept_by_a_block(shape: ModelConfig) -> int:
    """Numbers a token: queries, keys and values before and after bias and rotation, attention's output; the MLP's."""
    attention = 8 * shape.n_heads * shape.d_head
    return attention + shape.d_mlp * (4 if shape.gated else 2) + shape.d_model


def _losses(shape: ModelConfig, rows: int, whole: bool) -> float:
    """`whole`: whether a loss needs the vocabulary and not the candidates alone."""
    return 4 * _LOGIT_COPIES * rows * shape.d_vocab if whole else 0


def _evaluation(model: MaskedTransformer, data: TaskData, config: SearchConfig) -> float:
    """Circuit and complement, on the weights of each."""
    weights = 0 if config.mask == "edges" else 2 * model.weights.n_maskable_params * model.weights.embed.element_size()
    return evaluation_bytes(model, data.validation, config.ablation, config.mask == "weights") + weights
