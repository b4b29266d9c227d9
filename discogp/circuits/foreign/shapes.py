"""The graph that a file claims its model has, built only if the claim is in proportion to the file."""

from __future__ import annotations

from discogp.circuits.graph import ComputationGraph
from discogp.errors import ArtifactError

# A few bytes may claim any number of layers; what is built for them grows as the square.
_MOST_HEADS = 100_000
_FREE_EDGES = 200_000
_EDGES_FOR_EACH_LISTED = 20


def claimed_graph(
    layers: int, heads: int, *, listed: int, source: str, parallel: bool = False, joint_heads: bool = False
) -> ComputationGraph:
    """The graph of so many layers and heads. ArtifactError where it is far larger than the `listed` edges warrant."""
    words = f"{source} claims a model of {layers:,} layers × {heads:,} heads" if max(layers, heads) < 10**9 else source
    if not 1 <= layers * heads <= _MOST_HEADS:
        raise ArtifactError(f"{words}; here a model has at most {_MOST_HEADS:,} heads in all, and at least one")
    graph = ComputationGraph(layers, heads, parallel, joint_heads)
    most = max(_FREE_EDGES, _EDGES_FOR_EACH_LISTED * listed)
    if graph.n_edges > most:
        raise ArtifactError(f"{words}, with {graph.n_edges:,} edges, but names {listed:,}; it should name them all")
    return graph
