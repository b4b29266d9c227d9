"""Circuit: which edges (and weights) of a model are kept, how strongly, and where that came from.

Plain immutable data over numpy; needs neither torch nor a model. Edges e, density: fraction kept, 0–1.
In a mask, 1 (True) keeps the edge, 0 replaces what it carries by the ablation's value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from discogp.circuits.graph import ComputationGraph, Edge
from discogp.circuits.networks import from_network, provenance_of, to_networkx, to_pyvis
from discogp.errors import ConfigError, GraphError
from discogp.terms import Ablation, Searched

# A circuit with this `score_kind` in its provenance has scores that matter by their size; the sign is a direction.
ATTRIBUTION = "attribution"


def _read_only(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    copy = np.array(array, dtype=dtype)
    copy.setflags(write=False)
    return copy


@dataclass(frozen=True, eq=False)
class Circuit:
    """A set of kept edges, with continuous scores and, for a *sheaf*, kept weights.

    edge_mask [E] bool; edge_scores [E] float32 or None (a mask logit or attribution: higher is more certainly kept);
    weight_masks: name of a weight as in `discogp.engine.masks` -> bool array of its shape, or None if all are kept;
    `unmasked_weights`: how many weights of attention and MLP no mask covers, because only some layers, components or
    units were searched: they stay, in the complement too. `searched` says what the search masked, hence what a
    complement reverses. `notes`: what there is to say of the file that it was read from; they are not saved.
    """

    graph: ComputationGraph
    edge_mask: NDArray[np.bool_]
    edge_scores: NDArray[np.float32] | None = None
    weight_masks: Mapping[str, NDArray[np.bool_]] | None = None
    ablation: Ablation = "zero"
    searched: Searched = "edges"
    provenance: Mapping[str, Any] = field(default_factory=dict)
    unmasked_weights: int = 0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n_edges = self.graph.n_edges
        for name in ("edge_mask", "edge_scores"):
            array = getattr(self, name)
            if array is not None and np.shape(array) != (n_edges,):
                raise GraphError(f"{name} has shape {np.shape(array)}; this graph has {n_edges} edges, so ({n_edges},)")
        if self.ablation not in get_args(Ablation):
            raise ConfigError(f"ablation is {self.ablation!r}; allowed: {', '.join(get_args(Ablation))}")
        if self.searched not in get_args(Searched):
            raise ConfigError(f"searched is {self.searched!r}; allowed: {', '.join(get_args(Searched))}")
        object.__setattr__(self, "edge_mask", _read_only(self.edge_mask, bool))
        if self.edge_scores is not None:
            object.__setattr__(self, "edge_scores", _read_only(self.edge_scores, np.float32))
        if self.weight_masks is not None:
            masks = {name: _read_only(mask, bool) for name, mask in self.weight_masks.items()}
            object.__setattr__(self, "weight_masks", masks)

    @classmethod
    def from_edges(cls, graph: ComputationGraph, names: Iterable[str], **rest: Any) -> Self:
        """The circuit of exactly these edge names; GraphError names the first that does not exist."""
        mask = np.zeros(graph.n_edges, dtype=bool)
        for name in names:
            mask[graph.index(name)] = True
        return cls(graph, mask, **rest)

    @classmethod
    def full(cls, graph: ComputationGraph, **rest: Any) -> Self:
        """Every edge kept: the model itself."""
        return cls(graph, np.ones(graph.n_edges, dtype=bool), **rest)

    @cached_property
    def edges(self) -> tuple[str, ...]:
        """Names of the kept edges, in the graph's order."""
        return tuple(edge.name for edge in self.graph.edges_at(np.flatnonzero(self.edge_mask)))

    @property
    def n_edges(self) -> int:
        return int(self.edge_mask.sum())

    @property
    def edge_density(self) -> float:
        return self.n_edges / self.graph.n_edges

    @cached_property
    def n_weights(self) -> tuple[int, int]:
        """(kept, all) of the weights that a mask covers."""
        masks = (self.weight_masks or {}).values()
        return sum(int(np.count_nonzero(mask)) for mask in masks), sum(mask.size for mask in masks)

    @property
    def weight_density(self) -> float | None:
        """Share of the weights of attention and MLP that stay, those included that were not searched."""
        if self.weight_masks is None:
            return None
        kept, total = self.n_weights
        return (kept + self.unmasked_weights) / max(total + self.unmasked_weights, 1)

    @property
    def searched_weight_density(self) -> float | None:
        """The same of the weights that were searched."""
        if self.weight_masks is None:
            return None
        kept, total = self.n_weights
        return kept / max(total, 1)

    @property
    def score_kind(self) -> str:
        """`logit` of a mask or the like, where higher is more certainly kept, or `attribution`, where larger is."""
        return ATTRIBUTION if self.provenance.get("score_kind") == ATTRIBUTION else "logit"

    @property
    def importance(self) -> NDArray[np.float32] | None:
        """[E] what edges are ranked by: the scores, or their size if they are attributions; None without scores."""
        if self.edge_scores is None or self.score_kind != ATTRIBUTION:
            return self.edge_scores
        return np.abs(self.edge_scores)

    def without(self, names: Iterable[str]) -> Self:
        """A new circuit with these edges off. A node's name stands for every edge into and out of it."""
        mask = self.edge_mask.copy()
        for name in names:
            mask[self.graph.index(name) if "->" in name else self.graph.incident(name)] = False
        return replace(self, edge_mask=mask)

    def complement(self) -> Self:
        """The reverse of what was searched: of the edges, of the weights, or of both; what was not searched stays.

        Scoring the complement of a weights-only circuit with every edge off (as the reference release does)
        would measure an empty model, not the complement.
        """
        edges = self.edge_mask if self.searched == "weights" else ~self.edge_mask
        weights = self.weight_masks
        if weights is not None and self.searched != "edges":
            weights = {name: ~mask for name, mask in weights.items()}
        scores = None if self.edge_scores is None else -self.edge_scores
        return replace(self, edge_mask=edges, edge_scores=scores, weight_masks=weights)

    def strongest(self, k: int | None = None) -> tuple[Edge, ...]:
        """The kept edges by falling importance (graph order where there is none or they tie), at most k of them."""
        kept = np.flatnonzero(self.edge_mask)
        if self.importance is not None:
            kept = kept[np.argsort(-self.importance[kept], kind="stable")]
        return self.graph.edges_at(kept[:k])

    def to_networkx(self, most: int | None = None) -> Any:
        """A networkx `MultiDiGraph` of the kept edges (or the strongest `most`), with labels, colours, scores, ranks.

        Keys of edges are their names. `Circuit.from_networkx` makes a circuit of it again, without weight masks.
        """
        about: dict[str, Any] = {"ablation": self.ablation, "searched": self.searched, "provenance": self.provenance}
        if self.weight_masks is not None:
            about["weight_masks_left_out"] = {"density": self.weight_density}
        return to_networkx(self.graph, self.strongest(most), self.edge_scores, about)

    def to_pyvis(self, most: int | None = None, **options: Any) -> Any:
        """A pyvis `Network` of the same; `options` are those of `Network`. `show` or `write_html` draw it."""
        return to_pyvis(self.to_networkx(most), **options)

    @classmethod
    def from_networkx(cls, network: Any) -> Self:
        """The circuit of a graph that `to_networkx` or `to_pyvis` made, after edges were taken out or put in, too.

        An edge that is not in it is off and ranks below every one that is. ArtifactError for edges that are none.
        """
        graph, listed, attributes = from_network(network)
        provenance = provenance_of(attributes)
        mask = np.zeros(graph.n_edges, dtype=bool)
        mask[list(listed)] = True
        given = {index: score for index, score in listed.items() if score is not None}
        scores = None
        if given:
            lowest = min(0.0, *given.values())
            scores = np.full(graph.n_edges, lowest, dtype=np.float32)
            scores[list(given)] = list(given.values())
        searched = attributes.get("searched", "edges")
        ablation = attributes.get("ablation", "zero")
        # Without its weight masks, a sheaf is a circuit of edges.
        searched = "edges" if "weight_masks_left_out" in attributes else searched
        return cls(graph, mask, scores, None, ablation, searched, provenance)
