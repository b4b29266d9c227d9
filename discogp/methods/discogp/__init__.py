"""DiscoGP: differentiable masks on edges and weights (arXiv 2407.03779).

In: a `Job`, a `SearchConfig`. `search` runs the phases (`weight_phase`, then `edge_phase`) and keeps the best
masks; a phase draws masks (`sampling`), runs the engine, takes the losses (`losses`) and moves the logits. Needs
torch only once it searches.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import TYPE_CHECKING, get_args

from discogp.methods.base import Estimate, Method, register
from discogp.methods.discogp.settings import PRESETS, SearchConfig, preset
from discogp.search.progress import Progress
from discogp.terms import Ablation, Searched

if TYPE_CHECKING:
    from discogp.engine.masked_transformer import MaskedTransformer
    from discogp.prompts.prepare import TaskData
    from discogp.search.job import Job


@register
class DiscoGP(Method):
    name = "discogp"
    title = "DiscoGP"
    summary = "Learns masks over edges, weights or both, so that the circuit is faithful, complete and sparse."
    source = "arXiv 2407.03779"
    settings = SearchConfig
    masks = get_args(Searched)
    ablations = get_args(Ablation)
    presets = PRESETS
    default_preset = "balanced"
    phases = MappingProxyType({"weights": "Searching weights", "edges": "Searching edges"})

    def preset(self, name: str, mask: Searched = "edges", n_edges: int = 0, *, seed: int = 0) -> SearchConfig:
        return preset(name, mask, n_edges, seed=seed)

    def unused(self, mask: Searched) -> frozenset[str]:
        return frozenset({"edges": {"weights"}, "weights": {"edges"}}.get(mask, ()))

    def estimate(
        self, model: MaskedTransformer, data: TaskData, config: SearchConfig, memory_limit_mb: float | None = None
    ) -> Estimate:
        from discogp.methods.discogp.estimate import estimate

        return estimate(model, data, config, memory_limit_mb)

    def fitting(
        self, model: MaskedTransformer, data: TaskData, config: SearchConfig, memory_limit_mb: float | None = None
    ) -> SearchConfig:
        from discogp.methods.discogp.estimate import fitting

        return fitting(model, data, config, memory_limit_mb)

    def measured(self, model: MaskedTransformer, data: TaskData, config: SearchConfig, found: Estimate) -> Estimate:
        from discogp.methods.discogp.estimate import measured

        return measured(model, data, config, found)

    def search(self, job: Job, config: SearchConfig) -> Iterator[Progress]:
        from discogp.methods.discogp.search import Search

        return Search(job, config).run()
