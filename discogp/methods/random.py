"""Random circuits: the floor that every comparison needs.

So many of the edges, drawn at random, all on paths from the input to the logits. Drawn freely, almost none would lie on
a path and the circuit would be empty; so edges are taken in a random order until enough of them do, and what the last
one brought too much is taken off again at random.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from discogp.circuits.circuit import Circuit
from discogp.circuits.graph import ComputationGraph
from discogp.errors import ConfigError
from discogp.methods.base import Estimate, Method, register
from discogp.methods.settings import Checked, setting, settings_to_dict
from discogp.search.progress import Progress
from discogp.terms import Ablation, Searched

if TYPE_CHECKING:
    from discogp.engine.masked_transformer import MaskedTransformer
    from discogp.prompts.prepare import TaskData
    from discogp.search.job import Job


@dataclass(frozen=True)
class RandomSettings(Checked):
    """Same model, settings: same circuit, whatever the task."""

    mask: Searched = setting("edges", "What is drawn.", choices=("edges",))
    ablation: Ablation = setting(
        "zero",
        "What flows along an ablated edge: nothing, a mean, or the counterfactual's activation.",
        choices=get_args(Ablation),
    )
    size: float = setting(
        0.05, "Share of the model's edges (0–1) to draw, all on paths to the logits.", min=0.0, max=1.0
    )
    seed: int = setting(0, "Seed of the splits and of the draw.", min=0, max=2**31 - 1)


@register
class Random(Method):
    name = "random"
    title = "Random"
    summary = "Edges drawn at random, connected ones only: what a circuit of that size does by chance."
    source = "a floor for comparisons, no paper's"
    settings = RandomSettings
    masks = ("edges",)
    ablations = get_args(Ablation)
    presets = MappingProxyType({"default": "A twentieth of the edges."})
    default_preset = "default"
    phases = MappingProxyType({"draw": "Drawing edges"})

    def preset(self, name: str, mask: Searched = "edges", n_edges: int = 0, *, seed: int = 0) -> RandomSettings:
        if name not in self.presets:
            raise ConfigError(f"there is no preset {name!r}; allowed: {', '.join(self.presets)}")
        return RandomSettings(mask=mask, seed=seed)

    def estimate(
        self, model: MaskedTransformer, data: TaskData, config: RandomSettings, memory_limit_mb: float | None = None
    ) -> Estimate:
        from discogp.engine.memory import MB, available_mb
        from discogp.evaluation.scorer import evaluation_batch, evaluation_bytes

        free = available_mb(model.device) if memory_limit_mb is None else memory_limit_mb
        prompts = data.validation
        rows = evaluation_batch(model, prompts.tokens.shape[1])
        batch = min(len(prompts), max(1, rows // prompts.most_rows(1)))
        return Estimate({"evaluation": evaluation_bytes(model, prompts, config.ablation) / MB}, free, batch)

    def measured(self, model: MaskedTransformer, data: TaskData, config: RandomSettings, found: Estimate) -> Estimate:
        from discogp.evaluation.scorer import Evaluator

        began = time.monotonic()
        mask = random_edges(model.graph, config.size, config.seed)
        Evaluator(model, data.validation, config.ablation).evaluate(Circuit(model.graph, mask))
        return replace(found, seconds=time.monotonic() - began)

    def search(self, job: Job, config: RandomSettings) -> Iterator[Progress]:
        from discogp.evaluation.scorer import Evaluator
        from discogp.search.job import validation_figures

        began = time.monotonic()
        if job.cancelled():
            return
        mask = random_edges(job.model.graph, config.size, config.seed)
        circuit = Circuit(job.model.graph, mask, ablation=config.ablation)
        evaluation = Evaluator(job.model, job.data.validation, config.ablation).evaluate(circuit)
        figures = validation_figures(evaluation, circuit.edge_density)
        history = [{"phase": "draw", "step": 1, **figures}]
        circuit = replace(circuit, provenance=job.provenance(self.name, settings_to_dict(config), 1, history))
        event: dict[str, Any] = {"step": 1, "total_steps": 1, "eta": 0.0, "losses": {}, "best_step": 1}
        event["densities"] = {"edges": circuit.edge_density}
        yield Progress("draw", elapsed=time.monotonic() - began, validation=figures, **event)
        if not job.cancelled():
            yield Progress("done", elapsed=time.monotonic() - began, circuit=circuit, last_circuit=circuit, **event)


def random_edges(graph: ComputationGraph, size: float, seed: int = 0) -> NDArray[np.bool_]:
    """An edge mask [E] with `size` (0–1) of the edges, all on paths from the input to the logits."""
    generator = np.random.default_rng(seed)
    wanted = round(size * graph.n_edges)
    order = generator.permutation(graph.n_edges)

    def drawn(n: int) -> NDArray[np.bool_]:
        mask = np.zeros(graph.n_edges, dtype=bool)
        mask[order[:n]] = True
        return graph.on_paths(mask)

    low, high = wanted, graph.n_edges
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if drawn(middle).sum() >= wanted else (middle + 1, high)
    mask = drawn(low)
    for edge in generator.permutation(np.flatnonzero(mask)):
        if mask.sum() == wanted:
            break
        fewer = mask.copy()
        fewer[edge] = False
        fewer = graph.on_paths(fewer)
        if fewer.sum() >= wanted:
            mask = fewer
    return mask
