"""The computation graph: which component reads which, and the only index arithmetic in the package.

Axes: reader r (R of them) by source s (P of them). A *source* writes into the residual stream: the input
embedding, an attention head, an MLP. A *reader* reads from it: a head's query, key and value inputs
separately, an MLP, and the logits. Sources are ordered as they are computed, so every reader reads a prefix
of them, and a mask over all edges is a matrix [R, P] that is zero to the right of each reader's prefix.

Names are the field's usual ones, which the MIB benchmark's files use as well: `input->a0.h1<q>`,
`a0.h1->m3`, `a9.h9->logits`. Source of the graph's definition: arXiv 2407.03779, section 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from discogp.errors import GraphError

NodeKind = Literal["input", "head", "mlp", "logits"]
EdgeKind = Literal["q", "k", "v", "mlp", "logits"]


@dataclass(frozen=True, slots=True)
class Node:
    """A component. `layer` is -1 for the input and n_layers for the logits; `head` is None but for heads."""

    name: str
    kind: NodeKind
    layer: int
    head: int | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """One reader's view of one source. `index` is its place among all edges, (`row`, `column`) in the mask matrix."""

    index: int
    source: str
    reader: str
    row: int
    column: int

    @property
    def name(self) -> str:
        return f"{self.source}->{self.reader}"

    @property
    def kind(self) -> EdgeKind:
        if self.reader.endswith(">"):
            return self.reader[-2]  # type: ignore[return-value]  # the grammar allows only q, k, v here
        return "logits" if self.reader == "logits" else "mlp"

    @property
    def target(self) -> str:
        """The node that the reader belongs to: `a3.h1` for `a3.h1<q>`."""
        return self.reader.partition("<")[0]


@dataclass(frozen=True)
class ComputationGraph:
    """All sources, readers and edges of a decoder-only transformer.

    With grouped-query attention, keys and values have one reader per *query* head (n_heads), since each query
    head may want another input; SmolLM2-135M so has 123,211 edges and GPT-2 small 32,491.
    `parallel` is for models that compute attention and MLP from the same input: there an MLP does not read
    the heads of its own layer. `joint_heads` is for models with a norm behind attention, of the sum of a layer's heads:
    there every head has a part in what the others write, so one that nobody reads counts if another is read.
    """

    n_layers: int
    n_heads: int
    parallel: bool = False
    joint_heads: bool = False

    def __post_init__(self) -> None:
        for name in ("n_layers", "n_heads"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise GraphError(f"{name} is {value!r}; it must be a whole number of at least 1")

    @property
    def nodes_per_layer(self) -> int:
        return self.n_heads + 1

    @property
    def n_sources(self) -> int:
        return self.n_layers * self.nodes_per_layer + 1

    @property
    def readers_per_layer(self) -> int:
        return 3 * self.n_heads + 1

    @property
    def n_readers(self) -> int:
        return self.n_layers * self.readers_per_layer + 1

    def attention_rows(self, layer: int) -> slice:
        """Mask rows of a layer's 3·H attention readers: queries, then keys, then values."""
        start = layer * self.readers_per_layer
        return slice(start, start + 3 * self.n_heads)

    def mlp_row(self, layer: int) -> int:
        return layer * self.readers_per_layer + 3 * self.n_heads

    @property
    def logits_row(self) -> int:
        return self.n_readers - 1

    def head_columns(self, layer: int) -> slice:
        """Mask columns of a layer's heads; its MLP's column follows at once."""
        start = 1 + layer * self.nodes_per_layer
        return slice(start, start + self.n_heads)

    def mlp_column(self, layer: int) -> int:
        return self.head_columns(layer).stop

    def n_sources_of(self, row: int) -> int:
        """How many sources (always the first ones) the reader of this mask row can read."""
        if row == self.logits_row:
            return self.n_sources
        layer, place = divmod(row, self.readers_per_layer)
        own_heads = self.n_heads if place == 3 * self.n_heads and not self.parallel else 0
        return 1 + layer * self.nodes_per_layer + own_heads

    def own_rows(self, column: int) -> tuple[int, ...]:
        """Mask rows of what the node of this column reads with: query, key and value, or its one input; none for 0."""
        return self._own_rows[column]

    @cached_property
    def _own_rows(self) -> tuple[tuple[int, ...], ...]:
        rows: list[tuple[int, ...]] = [()]
        for layer in range(self.n_layers):
            start = self.attention_rows(layer).start
            rows += [tuple(range(start + head, start + 3 * self.n_heads, self.n_heads)) for head in range(self.n_heads)]
            rows.append((self.mlp_row(layer),))
        return tuple(rows)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.nodes[:-1])

    @cached_property
    def readers(self) -> tuple[str, ...]:
        names: list[str] = []
        for layer in range(self.n_layers):
            names += [f"a{layer}.h{head}<{role}>" for role in "qkv" for head in range(self.n_heads)]
            names.append(f"m{layer}")
        return (*names, "logits")

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node from the input to the logits, in the order of computation."""
        nodes = [Node("input", "input", -1)]
        for layer in range(self.n_layers):
            nodes += [Node(f"a{layer}.h{head}", "head", layer, head) for head in range(self.n_heads)]
            nodes.append(Node(f"m{layer}", "mlp", layer))
        return (*nodes, Node("logits", "logits", self.n_layers))

    @cached_property
    def _nodes_by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def node(self, name: str) -> Node:
        try:
            return self._nodes_by_name[name]
        except KeyError:
            raise GraphError(
                f"there is no node {name[:60]!r} in a graph of {self.n_layers} layers × {self.n_heads} heads; "
                f"nodes are input, a<layer>.h<head>, m<layer> and logits"
            ) from None

    @cached_property
    def prefix_lengths(self) -> NDArray[np.int64]:
        """[R] number of sources that each reader reads."""
        return np.array([self.n_sources_of(row) for row in range(self.n_readers)], dtype=np.int64)

    @cached_property
    def exists(self) -> NDArray[np.bool_]:
        """[R, P] whether the graph has this edge."""
        return np.arange(self.n_sources) < self.prefix_lengths[:, None]

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """[E] mask row of every edge."""
        return np.repeat(np.arange(self.n_readers), self.prefix_lengths)

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """[E] mask column of every edge."""
        return np.concatenate([np.arange(n) for n in self.prefix_lengths])

    @cached_property
    def row_starts(self) -> NDArray[np.int64]:
        """[R] index of each reader's first edge."""
        return np.concatenate([[0], np.cumsum(self.prefix_lengths)[:-1]])

    @property
    def n_edges(self) -> int:
        """Counted, not built: whoever reads a graph's size from a file asks this first."""
        layers, heads = self.n_layers, self.n_heads
        before = layers + self.nodes_per_layer * (layers * (layers - 1) // 2)  # sources before a layer, of all layers
        own_heads = 0 if self.parallel else layers * heads
        return self.readers_per_layer * before + own_heads + self.n_sources

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        return self.edges_at(range(self.n_edges))

    def edges_at(self, indices: Iterable[int]) -> tuple[Edge, ...]:
        """The edges of these indices, without making the others."""
        places, sources, readers = np.fromiter(indices, dtype=np.int64), self.sources, self.readers
        found = zip(places.tolist(), self.rows[places].tolist(), self.columns[places].tolist(), strict=True)
        return tuple(Edge(i, sources[c], readers[r], r, c) for i, r, c in found)

    @cached_property
    def _rows_by_reader(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.readers)}

    @cached_property
    def _columns_by_source(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.sources)}

    def index(self, name: str) -> int:
        """Flat index of an edge name; GraphError says which half of the name is wrong."""
        source, arrow, reader = name.partition("->")
        row, column = self._rows_by_reader.get(reader), self._columns_by_source.get(source)
        if not arrow or row is None or column is None:
            part = "arrow" if not arrow else f"source {source[:60]!r}" if column is None else f"reader {reader[:60]!r}"
            raise GraphError(
                f"there is no edge {name[:120]!r} in a graph of {self.n_layers} layers × {self.n_heads} heads: "
                f"{'no ' if not arrow else 'unknown '}{part}. Edges look like input->a0.h1<q>, a0.h1->m3, m2->logits"
            )
        if column >= self.prefix_lengths[row]:
            raise GraphError(f"there is no edge {name!r}: {source} is computed after {reader} has read its input")
        return int(self.row_starts[row]) + column

    def edge(self, name: str) -> Edge:
        return self.edges_at([self.index(name)])[0]

    @cached_property
    def source_nodes(self) -> NDArray[np.int64]:
        """[E] node index (into `nodes`) that each edge leaves."""
        return self.columns

    @cached_property
    def target_nodes(self) -> NDArray[np.int64]:
        """[E] node index (into `nodes`) that each edge enters."""
        places = {node.name: i for i, node in enumerate(self.nodes)}
        by_row = np.array([places[reader.partition("<")[0]] for reader in self.readers])
        return by_row[self.rows]

    def incident(self, node: str) -> NDArray[np.int64]:
        """Indices of every edge into or out of a node."""
        place = self.nodes.index(self.node(node))
        return np.flatnonzero((self.source_nodes == place) | (self.target_nodes == place))

    def written_together(self, columns: Iterable[int]) -> list[tuple[int, ...]]:
        """Columns in their order, each alone; with joint heads, all heads of a layer for any of them."""
        if not self.joint_heads:
            return [(column,) for column in sorted(columns)]
        groups: set[tuple[int, ...]] = set()
        for column in columns:
            layer, place = divmod(column - 1, self.nodes_per_layer)
            heads = self.head_columns(max(layer, 0))
            is_head = column > 0 and place < self.n_heads
            groups.add(tuple(range(heads.start, heads.stop)) if is_head else (column,))
        return sorted(groups)

    @cached_property
    def _writers(self) -> NDArray[np.int64]:
        """[nodes] the first of the nodes that each node is written together with."""
        first = np.arange(len(self.nodes))
        for group in self.written_together(range(self.n_sources)):
            first[list(group)] = group[0]
        return first

    def reaching_logits(self, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Those of the kept edges [E] from which kept edges lead to the logits: no other can change the output."""
        writers = self._writers
        alive = np.zeros(len(self.nodes), dtype=bool)
        alive[-1] = True
        # Nodes are in the order of computation, so one sweep from the last to the first finds every path.
        order = np.flatnonzero(kept)
        sources, targets = writers[self.source_nodes[order]], writers[self.target_nodes[order]]
        by_target = np.argsort(-targets, kind="stable")
        for source, target in zip(sources[by_target].tolist(), targets[by_target].tolist(), strict=True):
            if alive[target]:
                alive[source] = True
        return kept & alive[writers[self.target_nodes]]

    def on_paths(self, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Those of the kept edges [E] that lie on a path of kept edges from the input to the logits."""
        kept = self.reaching_logits(kept)
        reached = np.zeros(len(self.nodes), dtype=bool)
        reached[0] = True
        edges = np.flatnonzero(kept)
        for edge in edges[np.argsort(self.source_nodes[edges], kind="stable")]:
            if reached[self.source_nodes[edge]]:
                reached[self.target_nodes[edge]] = True
        return kept & reached[self.source_nodes]

    def to_json(self) -> dict[str, int | bool]:
        shape: dict[str, int | bool] = {"n_layers": self.n_layers, "n_heads": self.n_heads, "parallel": self.parallel}
        return shape | ({"joint_heads": True} if self.joint_heads else {})
