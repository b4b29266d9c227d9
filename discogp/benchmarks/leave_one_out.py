"""A sparse circuit without each of its edges in turn, with all measures, against that many separate evaluations.

A separate evaluation is the sparse one of that circuit; its time is the mean over a sample of the edges.
"""

from __future__ import annotations

import numpy as np

from discogp.benchmarks.report import Comparison, Side, in_turn
from discogp.benchmarks.shapes import case
from discogp.benchmarks.sparse_circuits import DENSITY, about, random_circuit
from discogp.evaluation import Scorer
from discogp.toggling import Toggler

_SAMPLE = 24


def measure(shape: str, batch: int | None, length: int | None, repeats: int, device: str) -> Comparison:
    on = case(shape, batch, length, repeats, device)
    mask = random_circuit(on.model.graph, DENSITY)
    edges = np.flatnonzero(mask)
    sample = np.random.default_rng(1).choice(edges, _SAMPLE, replace=False)
    scorer = Scorer(on.model, on.prompts)

    def together() -> None:
        Toggler(scorer, mask).leave_one_out(edges.tolist())

    def separately() -> None:
        for edge in sample:
            without = mask.copy()
            without[edge] = False
            scorer.outcome(without)

    ours, separate = in_turn(on.device, repeats, together, separately, warm_up=0)
    return Comparison(
        "leave-one-out",
        on.setting,
        Side("leave-one-out", ours),
        Side(f"separate evaluation, mean of {_SAMPLE} random edges", tuple(s / _SAMPLE for s in separate)),
        factor=len(edges),
        extra={"circuit": about(on.model.graph, mask)},
    )
