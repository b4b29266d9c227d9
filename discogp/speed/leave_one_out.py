"""A sparse circuit without each of its edges in turn, with all measures, against that many separate evaluations.

All edges would take minutes, so it is a random sample of them; the one run of the circuit itself that all edges build
on is not counted. A separate evaluation is the sparse one of that circuit; some of the sample are timed.
"""

from __future__ import annotations

import numpy as np

from discogp.evaluation.scorer import Scorer
from discogp.evaluation.toggling import Toggler
from discogp.methods.random import random_edges
from discogp.speed.report import Comparison, Side, in_turn
from discogp.speed.shapes import case
from discogp.speed.sparse_circuits import DENSITY, about

_SAMPLE = 48
_SEPARATELY = 12


def measure(shape: str, batch: int | None, length: int | None, repeats: int, device: str) -> Comparison:
    on = case(shape, batch, length, repeats, device)
    mask = random_edges(on.model.graph, DENSITY)
    edges = np.flatnonzero(mask)
    sample = np.random.default_rng(0).permutation(edges)[:_SAMPLE]
    some = sample[:_SEPARATELY]
    scorer = Scorer(on.model, on.prompts)
    toggler = Toggler(scorer, mask)
    toggler.outcome(mask)

    def together() -> None:
        toggler.leave_one_out(sample.tolist())

    def separately() -> None:
        for edge in some:
            without = mask.copy()
            without[edge] = False
            scorer.outcome(without)

    ours, separate = in_turn(on.device, repeats, together, separately, warm_up=0)
    return Comparison(
        "leave-one-out",
        on.setting,
        Side(f"leave-one-out of {len(sample)} of the {len(edges)} edges, drawn at random", ours),
        Side(f"separate evaluation, mean of {len(some)} of these", tuple(s / len(some) for s in separate)),
        factor=len(sample),
        extra={"circuit": about(on.model.graph, mask)},
    )
