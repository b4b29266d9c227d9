"""Running a sparse circuit against the dense masked forward of the same circuit; both give the vocabulary's logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discogp.engine.masks import edge_matrix
from discogp.engine.sparse_pass import SparseRunner
from discogp.engine.workspace import Workspace
from discogp.methods.random import random_edges
from discogp.speed.report import Comparison, Side, in_turn
from discogp.speed.shapes import Case, case
from discogp.speed.sparse_circuits import DENSITY, about

_DENSER = 0.05


def measure(shape: str, batch: int | None, length: int | None, repeats: int, device: str) -> Comparison:
    on = case(shape, batch, length, repeats, device)
    graph = on.model.graph
    mask, denser = (random_edges(graph, density) for density in (DENSITY, _DENSER))
    sparse, more, dense = in_turn(on.device, repeats, sparsely(on, mask), sparsely(on, denser), densely(on, mask))
    second = Side("", more).median / Side("", dense).median
    return Comparison(
        "circuit",
        on.setting,
        Side(f"circuit of {DENSITY:.0%} of the edges", sparse),
        Side("dense masked forward", dense),
        extra={"circuit": about(graph, mask), "denser": about(graph, denser), "ratio_denser": second},
    )


def sparsely(on: Case, mask: NDArray[np.bool_]) -> Callable[[], Tensor]:
    workspace, prompts = Workspace(), on.prompts

    def run() -> Tensor:
        runner = SparseRunner(on.model.graph, on.model.folded, prompts.tokens, prompts.last)
        return on.model.folded.unembed(runner.run(mask, workspace=workspace).final)

    return run


def densely(on: Case, mask: NDArray[np.bool_]) -> Callable[[], Tensor]:
    workspace, prompts = Workspace(), on.prompts
    matrix = edge_matrix(on.model.graph, mask, on.device)

    @torch.no_grad()
    def run() -> Tensor:
        return on.model.masked(prompts.tokens, matrix, last=prompts.last, workspace=workspace)

    return run
