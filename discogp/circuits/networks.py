"""A circuit as a graph of networkx or pyvis, for notebooks, and back.

Nodes and edges carry a `label`, a `color`, a `kind`; edges a `score` and their `rank` too. An edge's key is its name,
so that the query, key and value edges of two nodes stay three. What is of no single one stands on the graph itself.
Weight masks have no place in a graph of components and are left out, which `weight_masks_left_out` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from discogp.circuits.graph import ComputationGraph, Edge
from discogp.errors import ArtifactError, GraphError

if TYPE_CHECKING:
    import networkx as nx  # a quarter of a second; opening a circuit does not need it

# Okabe and Ito's colours, darkened until lines one pixel wide can be told apart on white.
EDGE_COLOURS = MappingProxyType({"q": "#0072B2", "k": "#D07A00", "v": "#009E73", "mlp": "#B0508A", "logits": "#5B6270"})
NODE_FILLS = MappingProxyType({"input": "#EEF0F3", "head": "#EAF1FA", "mlp": "#F8EAF2", "logits": "#EEF0F3"})
NODE_LINES = MappingProxyType({"input": "#5B6270", "head": "#4A6FA5", "mlp": "#B0508A", "logits": "#5B6270"})
_SHAPE = ("n_layers", "n_heads", "parallel", "joint_heads")
_STEP_X, _STEP_Y = 110, 90


def to_networkx(
    graph: ComputationGraph, edges: Sequence[Edge], scores: NDArray[np.float32] | None, about: Mapping[str, Any]
) -> nx.MultiDiGraph[str]:
    """The graph of these edges, strongest first, and the nodes that they touch.

    `about`: ablation, searched and provenance of the circuit; written onto the graph, the provenance as JSON.
    """
    import networkx as nx

    made: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    made.graph.update({name: getattr(graph, name) for name in _SHAPE}, **_flat(about))
    touched = {name for edge in edges for name in (edge.source, edge.target)}
    for node in graph.nodes:
        if node.name in touched:
            head = {} if node.head is None else {"head": node.head}
            made.add_node(
                node.name, label=node.name, kind=node.kind, layer=node.layer, **head, color=NODE_FILLS[node.kind]
            )
    for rank, edge in enumerate(edges, start=1):
        score = {} if scores is None else {"score": float(str(scores[edge.index]))}
        made.add_edge(
            edge.source, edge.target, key=edge.name, label=edge.name, kind=edge.kind, rank=rank, **score,
            color=EDGE_COLOURS[edge.kind],
        )  # fmt: skip
    return made


def _flat(about: Mapping[str, Any]) -> dict[str, str]:
    """Texts only, which every file of a graph can hold."""
    return {name: value if isinstance(value, str) else json.dumps(value, default=str) for name, value in about.items()}


def to_pyvis(network: nx.MultiDiGraph[str], **options: Any) -> Any:
    """The same as a pyvis `Network`: layers from below, a column a head; `options` are those of `Network`.

    The names of its edges are their ids, and `network.circuit` holds what `from_network` needs.
    """
    from pyvis.network import Network

    made: Any = Network(**{"directed": True, "height": "700px", "width": "100%", "cdn_resources": "in_line"} | options)
    made.toggle_physics(False)
    heads = int(network.graph["n_heads"])
    for name, node in network.nodes(data=True):
        column = node.get("head", heads if node["kind"] == "mlp" else heads / 2)
        colour = {"background": node["color"], "border": NODE_LINES[node["kind"]]}
        place = {"x": column * _STEP_X, "y": -_STEP_Y * (node["layer"] + 0.5 * (node["kind"] == "mlp"))}
        made.add_node(name, label=node["label"], title=name, color=colour, shape="box", physics=False, **place)
    sizes = [abs(edge.get("score", 1.0)) for _, _, edge in network.edges(data=True)]
    largest = max(sizes, default=1.0) or 1.0
    for (source, target, name, edge), size in zip(network.edges(keys=True, data=True), sizes, strict=True):
        score = {"score": edge["score"]} if "score" in edge else {}
        title = f"{name}, score {edge['score']:z.4g}, rank {edge['rank']}" if score else name
        made.add_edge(source, target, id=name, title=title, color=edge["color"], width=1 + 4 * size / largest, **score)
    made.circuit = dict(network.graph)
    return made


def from_network(network: Any) -> tuple[ComputationGraph, dict[int, float | None], dict[str, Any]]:
    """(graph, score of each kept edge by its index, what stands on the graph) of a graph of networkx or pyvis.

    Edges may have been taken out or put in. An edge is known by its key, id, `label` or `name`. ArtifactError for a
    graph that does not say its shape, an edge that is none of it, and one that is there twice.
    """
    drawn = hasattr(network, "generate_html")  # pyvis's
    attributes = dict(getattr(network, "circuit" if drawn else "graph", {}))
    try:
        layers, heads = (int(attributes[name]) for name in ("n_layers", "n_heads"))
        graph = ComputationGraph(layers, heads, *(_truth(attributes.get(name, False)) for name in _SHAPE[2:]))
    except (KeyError, TypeError, ValueError, GraphError) as error:
        raise ArtifactError(
            f"this graph does not say of how many layers and heads its model is ({error}); make it with "
            "circuit.to_networkx(), or set graph.graph['n_layers'] and graph.graph['n_heads']"
        ) from error
    listed: dict[int, float | None] = {}
    for names, score in _drawn_edges(network) if drawn else _edges(network):
        index = _index(graph, names)
        if index in listed:
            raise ArtifactError(f"the edge {graph.edges[index].name} is twice in this graph; keep one")
        if score is not None and not (isinstance(score, (int, float)) and np.isfinite(np.float32(score))):
            raise ArtifactError(f"the score of {graph.edges[index].name} is {str(score)[:40]}; it must be finite")
        listed[index] = score
    return graph, listed, attributes


def provenance_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance that stands on a graph, as JSON or as it is; empty without one. ArtifactError if it is neither."""
    found = attributes.get("provenance", {})
    try:
        found = json.loads(found) if isinstance(found, str) else found
        return dict(found)
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"the graph's provenance is no JSON object: {str(error)[:80]}") from error


def _edges(network: Any) -> Iterator[tuple[list[str], Any]]:
    """What each edge may be called, and its score."""
    for *ends, data in network.edges(keys=True, data=True) if network.is_multigraph() else network.edges(data=True):
        yield _names(data, *ends[2:]), data.get("score")


def _drawn_edges(network: Any) -> Iterator[tuple[list[str], Any]]:
    yield from ((_names(edge), edge.get("score")) for edge in network.edges)


def _names(data: Mapping[str, Any], *keys: Any) -> list[str]:
    return [name for name in (*keys, *(data.get(part) for part in ("id", "label", "name"))) if isinstance(name, str)]


def _index(graph: ComputationGraph, names: Sequence[str]) -> int:
    for name in names:
        try:
            return graph.index(name)
        except GraphError as error:
            reason = error
    raise ArtifactError(str(reason) if names else "an edge of this graph has no name; give it the key input->a0.h0<q>")


def _truth(value: Any) -> bool:
    return value is True or str(value).lower() == "true"
