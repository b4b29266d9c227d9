"""What sparse circuits are measured on: random ones that look like those a search finds.

A search drops edges that lie on no path from the input to the logits, so these have 2 % of the edges *on paths*. On the
GPT-2-small shape about 90 of the 157 nodes then change the logits, half of them by a constant: where a head's values
read nothing that depends on the prompt, its output does not either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from discogp.circuits.graph import ComputationGraph
from discogp.engine.sparse_plan import Plan

DENSITY = 0.02


def about(graph: ComputationGraph, mask: NDArray[np.bool_]) -> str:
    """How large a circuit is, for the report."""
    plan = Plan.of(graph, mask)
    mlps = sum(graph.nodes[column].kind == "mlp" for column in plan.live - plan.constant)
    return (
        f"{mask.sum():,} of {graph.n_edges:,} edges; {len(plan.live)} of {graph.n_sources} sources change the logits, "
        f"{len(plan.constant)} of them by a constant; of the others {mlps} are MLPs, and {len(plan.late)} are needed "
        "at the last position alone"
    )
