"""The JSON of the MIB benchmark's circuit track, which EAP-IG's `Graph.to_json` writes and `from_json` reads.

    {"cfg":   {"n_layers": 12, "n_heads": 12, "parallel_attn_mlp": false, "d_model": 768},
     "nodes": {"a0.h1": {"in_graph": true}, …},
     "edges": {"input->a0.h0<q>": {"score": -0.0003, "in_graph": false}, …}}

Names of edges are this package's own. Scores there are attributions: their size says how much an edge matters, their
sign in which direction, and MIB's scorer ranks by size. Scores of this package's searches are logits of masks, where
the sign decides; so they are written as the probability of keeping the edge, which has the same order either way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from discogp.circuits.circuit import ATTRIBUTION, Circuit
from discogp.circuits.foreign.shapes import claimed_graph
from discogp.circuits.graph import ComputationGraph
from discogp.errors import ArtifactError, GraphError
from discogp.terms import Ablation

FORM = "MIB / EAP-IG JSON"
_KEPT_PROBABILITY = "probability of keeping the edge"
_FLAGS = "1 for an edge that is kept, 0 for one that is not"


def is_mib(document: Any) -> bool:
    return isinstance(document, dict) and {"cfg", "edges"} <= set(document)


def read_mib(document: Mapping[str, Any], source: str) -> Circuit:
    """The circuit of the edges with `in_graph`, with every score. ArtifactError names what is wrong.

    Nodes' flags and scores, and the model's width, are kept in the provenance. An edge that is not listed is off, with
    score 0. Circuits of some neurons of a node are refused: here a node is whole.
    """
    cfg, edges, nodes = document["cfg"], document["edges"], document.get("nodes", {})
    if not isinstance(edges, dict) or not isinstance(nodes, dict):
        raise ArtifactError(f'{source}: "nodes" and "edges" must map names to objects')
    graph = _graph(cfg, len(edges), source)
    mask, scores = np.zeros(graph.n_edges, dtype=bool), np.zeros(graph.n_edges, dtype=np.float32)
    scored = 0
    for name, entry in edges.items():
        try:
            index = graph.index(name)
        except GraphError as error:
            raise ArtifactError(f"{source}: {error}") from error
        mask[index] = _flag(entry, name, source)
        if entry.get("score") is not None:
            scores[index], scored = _number(entry["score"], name, source), scored + 1
    if 0 < scored < len(edges):
        name = next(name for name, entry in edges.items() if entry.get("score") is None)
        raise ArtifactError(f"{source}: the edge {name} has no score, which others have; give all or none")
    origin: dict[str, Any] = {"form": FORM, "cfg": {k: v for k, v in cfg.items() if isinstance(v, (int, str))}}
    origin |= _nodes(nodes, graph, mask, source)
    return _circuit(document, graph, mask, scores if scored else None, origin)


def _circuit(
    document: Mapping[str, Any],
    graph: ComputationGraph,
    mask: NDArray[np.bool_],
    scores: NDArray[np.float32] | None,
    origin: dict[str, Any],
) -> Circuit:
    ours = document.get("discogp")
    ours = ours if isinstance(ours, dict) else {}
    # What EAP-IG means by a circuit, unless this package wrote the file.
    ablation: Ablation = next((one for one in get_args(Ablation) if one == ours.get("ablation")), "resample")
    provenance: dict[str, Any] = {"imported_from": origin | ({"ablation": ablation} if ours else {})}
    if ours.get("scores") == _FLAGS:
        scores = None
    elif scores is not None and ours.get("scores") == _KEPT_PROBABILITY:
        shares = np.array([document["edges"].get(e.name, {}).get("score", 0.0) for e in graph.edges], dtype=np.float64)
        shares = np.clip(shares, np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg)
        scores = (np.log(shares) - np.log1p(-shares)).astype(np.float32)
    elif scores is not None:
        provenance["score_kind"] = ATTRIBUTION
    return Circuit(graph, mask, scores, ablation=ablation, provenance=provenance)


def _graph(cfg: Any, listed: int, source: str) -> ComputationGraph:
    if not isinstance(cfg, dict):
        raise ArtifactError(f'{source}: "cfg" must be an object with n_layers and n_heads')
    layers, heads = _size(cfg, "n_layers", source), _size(cfg, "n_heads", source)
    parallel = cfg.get("parallel_attn_mlp", False)
    if not isinstance(parallel, bool):
        raise ArtifactError(f"{source}: parallel_attn_mlp is {str(parallel)[:40]}; it is true or false")
    return claimed_graph(layers, heads, listed=listed, source=source, parallel=parallel)


def _size(cfg: Mapping[str, Any], name: str, source: str) -> int:
    size = cfg.get(name)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ArtifactError(f"{source}: {name} of cfg is {str(size)[:40]}; it must be a whole number from 1 on")
    return size


def _nodes(
    nodes: Mapping[str, Any], graph: ComputationGraph, mask: NDArray[np.bool_], source: str
) -> dict[str, dict[str, Any]]:
    """What nodes say beyond their edges: flags that differ from whether a kept edge touches them, and scores."""
    touched, flags, scores = _touched(graph, mask), {}, {}
    known = {node.name for node in graph.nodes}
    for name, entry in nodes.items():
        if name not in known:
            raise ArtifactError(f"{source}: there is no node {name[:60]!r} in this graph; nodes are like a0.h1, m0")
        flag = _flag(entry, name, source)
        if isinstance(neurons := entry.get("neurons"), list) and not all(neurons):
            raise ArtifactError(
                f"{source}: of the node {name} only {sum(map(bool, neurons)):,} of {len(neurons):,} neurons are kept, "
                "which has no equivalent here; export the circuit of edges alone"
            )
        if flag != touched[name]:
            flags[name] = flag
        score = entry.get("score")
        if isinstance(score, (int, float)) and math.isfinite(score):
            scores[name] = score
    return {key: value for key, value in (("node_flags", flags), ("node_scores", scores)) if value}


def _touched(graph: ComputationGraph, mask: NDArray[np.bool_]) -> dict[str, bool]:
    """Whether a kept edge enters or leaves each node; the logits always count."""
    kept = np.flatnonzero(mask)
    places = {*graph.source_nodes[kept].tolist(), *graph.target_nodes[kept].tolist(), len(graph.nodes) - 1}
    return {node.name: place in places for place, node in enumerate(graph.nodes)}


def _flag(entry: Any, name: str, source: str) -> bool:
    flag = entry.get("in_graph") if isinstance(entry, dict) else None
    if not isinstance(flag, bool):
        raise ArtifactError(f"{source}: in_graph of {name[:60]} is {str(flag)[:40]}; it is true or false")
    return flag


def _number(score: Any, name: str, source: str) -> float:
    good = isinstance(score, (int, float)) and not isinstance(score, bool)
    if not good or not abs(score) <= float(np.finfo(np.float32).max):
        raise ArtifactError(f"{source}: the score of {name} is {str(score)[:40]}; it must be a finite number")
    return score


def mib_document(circuit: Circuit, d_model: int, about: Mapping[str, Any]) -> str:
    """The circuit as EAP-IG reads it; `about` goes beneath a key of its own, which EAP-IG ignores."""
    graph, scores = circuit.graph, circuit.edge_scores
    if scores is None:
        written, numbers = _FLAGS, circuit.edge_mask.astype(float).tolist()
    elif circuit.score_kind == ATTRIBUTION:
        written, numbers = ATTRIBUTION, [float(str(score)) for score in scores]
    else:
        # In double, so that scores up to 20 in size come back to 1e-6.
        exact = scores.astype(np.float64)
        written, numbers = _KEPT_PROBABILITY, (1 / (1 + np.exp(-np.clip(exact, -700, 36)))).tolist()
    origin = circuit.provenance.get("imported_from")
    origin = origin if isinstance(origin, Mapping) else {}
    flags, node_scores = (origin.get(key) for key in ("node_flags", "node_scores"))
    nodes: dict[str, dict[str, Any]] = {n: {"in_graph": on} for n, on in _touched(graph, circuit.edge_mask).items()}
    for key, values in (("in_graph", flags), ("score", node_scores)):
        for name, value in (values if isinstance(values, Mapping) else {}).items():
            if name in nodes:
                nodes[name][key] = value
    mask = circuit.edge_mask.tolist()
    document = {
        "cfg": {
            "n_layers": graph.n_layers,
            "n_heads": graph.n_heads,
            "parallel_attn_mlp": graph.parallel,
            "d_model": d_model,
        },
        "nodes": nodes,
        "edges": {e.name: {"score": numbers[e.index], "in_graph": mask[e.index]} for e in graph.edges},
        "discogp": {"scores": written, **about},
    }
    return json.dumps(document, allow_nan=False)
