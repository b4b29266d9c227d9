"""A method: goes to `discogp/methods/`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, get_args

import numpy as np

from discogp.circuits.circuit import Circuit
from discogp.methods.base import Estimate, Method, register
from discogp.methods.settings import Checked, setting, settings_to_dict
from discogp.search.progress import Progress
from discogp.terms import Ablation, Searched

if TYPE_CHECKING:
    from discogp.engine.masked_transformer import MaskedTransformer
    from discogp.prompts.prepare import TaskData
    from discogp.search.job import Job


@dataclass(frozen=True)
class LateLayersSettings(Checked):
    mask: Searched = setting("edges", "What is masked.", choices=("edges",))
    ablation: Ablation = setting("zero", "What an ablated edge carries.", choices=get_args(Ablation))
    seed: int = setting(0, "Seed of the splits.", min=0, max=2**31 - 1)
    layers: int = setting(2, "How many of the last layers are kept whole.", min=0, max=512)


@register
class LateLayers(Method):
    name = "late_layers"
    title = "Late layers"
    summary = "Keeps every edge into the last layers, and none of the others but those they need."
    source = "an example"
    settings = LateLayersSettings
    masks = ("edges",)
    ablations = get_args(Ablation)
    presets = MappingProxyType({"default": "Two layers."})
    default_preset = "default"

    def preset(self, name: str, mask: Searched = "edges", n_edges: int = 0, *, seed: int = 0) -> LateLayersSettings:
        return LateLayersSettings(mask=mask, seed=seed)

    def estimate(
        self, model: MaskedTransformer, data: TaskData, config: LateLayersSettings, memory_limit_mb: float | None = None
    ) -> Estimate:
        return Estimate({"masks": 0.1}, memory_limit_mb or 1000.0, 1)

    def measured(
        self, model: MaskedTransformer, data: TaskData, config: LateLayersSettings, found: Estimate
    ) -> Estimate:
        return found

    def search(self, job: Job, config: LateLayersSettings) -> Iterator[Progress]:
        graph = job.model.graph
        layers = np.array([graph.nodes[target].layer for target in graph.target_nodes])
        circuit = Circuit(
            graph,
            layers >= graph.n_layers - config.layers,
            ablation=config.ablation,
            provenance=job.provenance(self.name, settings_to_dict(config), 1, ()),
        )
        yield Progress("done", 1, 1, 0.0, 0.0, {}, {"edges": circuit.edge_density}, circuit=circuit)
