"""A sparse circuit run again with one edge off, mean over a sample of its edges, against the dense masked forward."""

from __future__ import annotations

import numpy as np

from discogp.engine.sparse_pass import SparseRunner
from discogp.engine.workspace import Workspace
from discogp.methods.random import random_edges
from discogp.speed.circuit import densely
from discogp.speed.report import Comparison, Side, in_turn
from discogp.speed.shapes import case
from discogp.speed.sparse_circuits import DENSITY, about

_SAMPLE = 24


def measure(shape: str, batch: int | None, length: int | None, repeats: int, device: str) -> Comparison:
    on = case(shape, batch, length, repeats, device)
    graph, folded, workspace = on.model.graph, on.model.folded, Workspace()
    mask = random_edges(graph, DENSITY)
    edges = np.random.default_rng(1).choice(np.flatnonzero(mask), _SAMPLE, replace=False)
    runner = SparseRunner(graph, folded, on.prompts.tokens, on.prompts.last)
    base = runner.run(mask)

    def toggles() -> None:
        for edge in edges:
            without = mask.copy()
            without[edge] = False
            folded.unembed(runner.run(without, base, workspace).final)

    ours, dense = in_turn(on.device, repeats, toggles, densely(on, mask))
    return Comparison(
        "toggle",
        on.setting,
        Side(f"one edge off, mean of {_SAMPLE} random edges", tuple(seconds / _SAMPLE for seconds in ours)),
        Side("dense masked forward", dense),
        extra={"circuit": about(graph, mask)},
    )
