"""What sparse circuits are measured on: random ones that look like those a search finds.

Of 2 % of the edges drawn at random, almost none would lie on a path from the input to the logits: such a circuit is a
handful of nodes, and quickly run. A search drops edges that lie on no path, so these circuits have 2 % of the edges *on
paths*: edges are drawn in a random order until that many are, and what the last draw brought too much is taken off
again at random. On the GPT-2-small shape about 90 of the 157 nodes then change the logits, half of them by a constant:
where a head's values read nothing that depends on the prompt, its output does not either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from discogp.circuits.graph import ComputationGraph
from discogp.engine.sparse_pass import Plan

DENSITY = 0.02


def random_circuit(graph: ComputationGraph, density: float, seed: int = 0) -> NDArray[np.bool_]:
    """An edge mask [E] with `density` of the edges, all on paths from the input to the logits."""
    generator = np.random.default_rng(seed)
    wanted = round(density * graph.n_edges)
    order = generator.permutation(graph.n_edges)

    def drawn(n: int) -> NDArray[np.bool_]:
        mask = np.zeros(graph.n_edges, dtype=bool)
        mask[order[:n]] = True
        return on_paths(graph, mask)

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
        fewer = on_paths(graph, fewer)
        if fewer.sum() >= wanted:
            mask = fewer
    return mask


def on_paths(graph: ComputationGraph, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of the kept edges [E] that lie on a path of kept edges from the input to the logits."""
    kept = graph.reaching_logits(kept)
    reached = np.zeros(len(graph.nodes), dtype=bool)
    reached[0] = True
    edges = np.flatnonzero(kept)
    for edge in edges[np.argsort(graph.source_nodes[edges], kind="stable")]:
        if reached[graph.source_nodes[edge]]:
            reached[graph.target_nodes[edge]] = True
    return kept & reached[graph.source_nodes]


def about(graph: ComputationGraph, mask: NDArray[np.bool_]) -> str:
    """How large a circuit is, for the report."""
    plan = Plan.of(graph, mask)
    mlps = sum(graph.nodes[column].kind == "mlp" for column in plan.live - plan.constant)
    return (
        f"{mask.sum():,} of {graph.n_edges:,} edges; {len(plan.live)} of {graph.n_sources} sources change the logits, "
        f"{len(plan.constant)} of them by a constant; of the others {mlps} are MLPs, and {len(plan.late)} are needed "
        "at the last position alone"
    )
