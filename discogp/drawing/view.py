"""Circuit + filters -> GraphView: which nodes and links to draw, where, how strong, in which colours.

Pure data, the same for every drawing: the page's graph, the standalone HTML, SVG, PDF and PNG. Positions are
in grid units: x grows to the right (one column a head, MLPs in a column of their own at the right), y grows
upwards (one row a layer, input below, logits above). Heads and layers that do not occur take no space.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from discogp.circuits.circuit import Circuit
from discogp.circuits.describe import KIND_LABELS, describe, metrics_of, summary
from discogp.circuits.graph import ComputationGraph, Edge, EdgeKind, Node, NodeKind
from discogp.drawing.palette import PALETTES, PULL, REACH
from discogp.errors import ConfigError

# At most some 300 edges read well at once; the page's slider starts here.
DEFAULT_SHOWN = 250


WIDTHS: Mapping[str, str] = {
    "score": "score",
    "estimate": "change of the logit difference if cut, estimated",
    "effect": "change of the logit difference if cut",
}
"""What the widths of links can show, in words. If cut: if this edge alone is left out of the circuit."""


@dataclass(frozen=True, eq=False)
class Widths:
    """What the widths of links show instead of scores: `values` [E] of the graph's edges, by size, whatever their sign;
    `name`: one of WIDTHS."""

    values: NDArray[np.float32]
    name: str

    @classmethod
    def of(cls, graph: ComputationGraph, values: Mapping[str, float], name: str) -> Widths:
        """From values by the edges' names; those of other edges are 0."""
        found = np.zeros(graph.n_edges, dtype=np.float32)
        found[[graph.index(edge) for edge in values]] = list(values.values())
        return cls(found, name)

    @property
    def what(self) -> str:
        return WIDTHS[self.name]


@dataclass(frozen=True, slots=True)
class ViewNode:
    """A node at its place. `n_in` and `n_out` count the circuit's kept edges, `of_in` and `of_out` the graph's."""

    name: str
    kind: NodeKind
    layer: int
    head: int | None
    x: float
    y: float
    n_in: int
    of_in: int
    n_out: int
    of_out: int

    @property
    def label(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class ViewLink:
    """A kept edge. `rank` is 1 for the strongest of the circuit; `strength` (0–1) sets width and opacity; `value` is
    what both show, where that is not the score.

    `roundness` is vis-network's: of a vertical `cubicBezier`, or of a `curvedCW` within a column.
    """

    name: str
    source: str
    target: str
    kind: EdgeKind
    score: float | None
    rank: int
    strength: float
    same_column: bool
    roundness: float
    value: float | None = None

    @property
    def width(self) -> float:
        """In pixels at a scale of 1."""
        return round(0.7 + 3.3 * self.strength, 3)


@dataclass(frozen=True)
class GraphView:
    """All that a renderer needs. Links come strongest first; `off_*` are drawn grey and thin.

    `metrics`: (one of `describe.PART_LABELS`, numbers by name), by default as found in the provenance; `notes`: lines
    that say what the drawing is of. Neither is part of its `id`.
    `rows` are the layers that occur, from below, with their y; `width` and `height` are in grid units.
    """

    nodes: tuple[ViewNode, ...]
    links: tuple[ViewLink, ...]
    title: str
    subtitle: str
    metrics: tuple[tuple[str, Mapping[str, float]], ...]
    n_kept: int
    n_edges: int
    rows: tuple[tuple[float, str], ...]
    width: float
    height: float
    off_edges: frozenset[str] = frozenset()
    off_nodes: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    widths_show: str = WIDTHS["score"]
    of: str = ""
    """A fingerprint of the circuit's edges: what is switched off in one drawing of it is off in the others too."""

    def is_off(self, link: ViewLink) -> bool:
        """Whether the link is off by itself or because a node at one of its ends is."""
        return link.name in self.off_edges or not self.off_nodes.isdisjoint((link.source, link.target))

    @cached_property
    def node_by_name(self) -> dict[str, ViewNode]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def id(self) -> str:
        """Changes exactly when something other than the off sets does: a renderer rebuilds only then."""
        return hashlib.sha256(json.dumps(self._drawing(), sort_keys=True).encode()).hexdigest()[:16]

    def _drawing(self) -> dict[str, Any]:
        places = {node.name: i for i, node in enumerate(self.nodes)}
        return {
            "title": self.title,
            "subtitle": self.subtitle,
            "kept": self.n_kept,
            "widthsShow": self.widths_show,
            "shown": min(DEFAULT_SHOWN, len(self.links)),
            "width": self.width,
            "height": self.height,
            "rows": [list(row) for row in self.rows],
            "nodes": [
                {
                    "id": n.name,
                    "kind": n.kind,
                    "x": n.x,
                    "y": n.y,
                    "in": [n.n_in, n.of_in],
                    "out": [n.n_out, n.of_out],
                }
                for n in self.nodes
            ],
            # One short row a link, since thousands travel to the browser: source and target as places in `nodes`.
            "links": [
                [
                    places[e.source],
                    places[e.target],
                    e.kind,
                    e.score,
                    e.rank,
                    e.strength,
                    int(e.same_column),
                    e.roundness,
                    e.value,
                ]
                for e in self.links
            ],
            "palettes": dict(PALETTES),
            "kindLabels": dict(KIND_LABELS),
        }

    def to_json(self) -> dict[str, Any]:
        """The drawing as plain JSON for the renderer in `discogp/frontend`; the off sets travel beside it."""
        return {"id": self.id, **self._drawing()}


def build_view(
    circuit: Circuit,
    max_edges: int | None = DEFAULT_SHOWN,
    off: Collection[str] = frozenset(),
    *,
    min_score: float | None = None,
    kinds: Collection[str] | None = None,
    layers: tuple[int, int] | None = None,
    title: str | None = None,
    widths: Widths | None = None,
) -> GraphView:
    """Choose what to draw and place it.

    Of the kept edges that pass the filters, the strongest `max_edges` (None: all) are taken, by score or by `widths`.
    `min_score`: lowest score; `kinds`: some of q, k, v, mlp, logits; `layers`: first and last layer (inclusive), of
    which an edge must touch one. `off`: names of edges or nodes to draw as switched off; GraphError for an unknown one.
    """
    graph = circuit.graph
    most = None if max_edges is None else max(0, max_edges)
    # Without filters the strongest are those drawn: of hundreds of thousands no more need be made.
    unfiltered = min_score is kinds is layers is None
    ranked = _filtered(_ranked(circuit, widths, most if unfiltered else None), circuit, min_score, kinds, layers)
    taken = ranked[:most]
    off_edges = frozenset(graph.edge(name).name for name in off if "->" in name)
    off_nodes = frozenset(graph.node(name).name for name in off if "->" not in name)
    nodes, rows, width = _place(circuit, [edge for _, edge in taken])
    by_name = {node.name: node for node in nodes}
    strengths = _strengths(circuit.edge_scores if widths is None else widths.values, [edge.index for _, edge in taken])
    links = tuple(
        _link(circuit, edge, rank, strength, by_name, widths)
        for (rank, edge), strength in zip(taken, strengths, strict=True)
    )
    return GraphView(
        nodes=nodes,
        links=links,
        title=title if title is not None else describe(circuit),
        subtitle=summary(circuit, len(links)),
        metrics=metrics_of(circuit),
        n_kept=circuit.n_edges,
        n_edges=graph.n_edges,
        rows=rows,
        width=width,
        height=len(rows) + 1.0,
        off_edges=off_edges,
        off_nodes=off_nodes,
        widths_show=WIDTHS["score"] if widths is None else widths.what,
        of=hashlib.sha256(np.packbits(circuit.edge_mask).tobytes()).hexdigest()[:16],
    )


def _ranked(circuit: Circuit, widths: Widths | None, most: int | None) -> list[tuple[int, Edge]]:
    """The `most` strongest kept edges with their rank in the circuit (from 1)."""
    if widths is None:
        return list(enumerate(circuit.strongest(most), start=1))
    kept = np.flatnonzero(circuit.edge_mask)
    order = kept[np.argsort(-np.abs(widths.values[kept]), kind="stable")]
    return list(enumerate(circuit.graph.edges_at(order[:most]), start=1))


def _filtered(
    ranked: list[tuple[int, Edge]],
    circuit: Circuit,
    min_score: float | None,
    kinds: Collection[str] | None,
    layers: tuple[int, int] | None,
) -> list[tuple[int, Edge]]:
    """Those that pass every filter."""
    unknown = sorted(set(kinds or ()) - set(get_args(EdgeKind)))
    if unknown:
        raise ConfigError(f"edge kind {unknown[0]!r} is unknown; allowed: {', '.join(get_args(EdgeKind))}")
    if min_score is not None and circuit.edge_scores is not None:
        scores = circuit.edge_scores
        ranked = [(rank, edge) for rank, edge in ranked if scores[edge.index] >= min_score]
    if kinds is not None:
        ranked = [(rank, edge) for rank, edge in ranked if edge.kind in kinds]
    if layers is not None:
        wanted = {n.name for n in circuit.graph.nodes if layers[0] <= n.layer <= layers[1]}
        ranked = [(rank, edge) for rank, edge in ranked if edge.source in wanted or edge.target in wanted]
    return ranked


def _place(
    circuit: Circuit, edges: Sequence[Edge]
) -> tuple[tuple[ViewNode, ...], tuple[tuple[float, str], ...], float]:
    """Nodes that occur (input and logits always do), the rows with their y, and the width of the grid."""
    graph = circuit.graph
    occurring = {name for edge in edges for name in (edge.source, edge.target)} | {"input", "logits"}
    nodes = [node for node in graph.nodes if node.name in occurring]
    layers = sorted({node.layer for node in nodes if node.kind in ("head", "mlp")})
    heads = sorted({node.head for node in nodes if node.head is not None})
    row_of = {layer: row for row, layer in enumerate(layers)}
    column_of = {head: column for column, head in enumerate(heads)}
    has_mlps = any(node.kind == "mlp" for node in nodes)
    mlp_x = len(heads) + 0.3 if heads else 0.0
    width = mlp_x if has_mlps else max(len(heads) - 1.0, 0.0)

    def position(node: Node) -> tuple[float, float]:
        if node.kind == "head":
            return float(column_of[node.head or 0]), float(row_of[node.layer])
        if node.kind == "mlp":
            # Half a row up: an MLP reads the heads of its own layer.
            return mlp_x, row_of[node.layer] + 0.5
        return width / 2, -1.0 if node.kind == "input" else float(len(layers))

    degrees = _degrees(graph, circuit)
    placed = tuple(
        ViewNode(node.name, node.kind, node.layer, node.head, *position(node), *degrees[node.name]) for node in nodes
    )
    return placed, tuple((float(row_of[layer]), f"L{layer}") for layer in layers), width


def _link(
    circuit: Circuit, edge: Edge, rank: int, strength: float, nodes: Mapping[str, ViewNode], widths: Widths | None
) -> ViewLink:
    source, target = nodes[edge.source], nodes[edge.target]
    same_column = abs(source.x - target.x) < 0.3
    roundness = _column_roundness(edge.kind, target.y - source.y) if same_column else PULL[edge.kind]
    score = None if circuit.edge_scores is None else float(str(circuit.edge_scores[edge.index]))
    value = None if widths is None else float(str(widths.values[edge.index]))
    return ViewLink(
        edge.name, edge.source, edge.target, edge.kind, score, rank, strength, same_column, roundness, value
    )


@cache
def _column_roundness(kind: EdgeKind, rows: float) -> float:
    """The `curvedCW` roundness at which the middle of an edge so many rows long lies as far out as REACH says.

    Of its length, that middle lies (1 + r) · sin(r·π/2) / 4 out, which grows with r: halve the interval.
    """
    wanted = REACH[kind] / math.sqrt(max(rows, 0.5))
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        below = (1 + middle) * math.sin(middle * math.pi / 2) / 4 < wanted
        low, high = (middle, high) if below else (low, middle)
    return round(low, 4)


def _degrees(graph: ComputationGraph, circuit: Circuit) -> dict[str, tuple[int, int, int, int]]:
    """Name -> kept edges in, possible in, kept out, possible out."""
    counts = [
        np.bincount(places, weights=kept, minlength=len(graph.nodes)).astype(int)
        for places in (graph.target_nodes, graph.source_nodes)
        for kept in (circuit.edge_mask, None)
    ]
    columns = [count.tolist() for count in counts]
    return {node.name: tuple(values) for node, *values in zip(graph.nodes, *columns, strict=True)}  # type: ignore[misc]


def _strengths(values: NDArray[np.float32] | None, indices: Sequence[int]) -> list[float]:
    """How strongly to draw each link, 0–1: monotone in |value|, stretched over the values that are drawn.

    Mask logits crowd far from zero and attributions crowd near it, so both ends come from percentiles.
    """
    if values is None or not indices:
        return [0.5] * len(indices)
    sizes = np.abs(values[np.asarray(indices)].astype(np.float64))
    low, high = np.percentile(sizes, [5, 99])
    if high - low <= 1e-12 * max(high, 1e-300):
        return [0.5] * len(indices)
    return np.round(np.clip((sizes - low) / (high - low), 0, 1) ** 1.3, 3).tolist()
