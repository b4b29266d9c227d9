"""A circuit as JSON: the readable half of a circuit folder, and whole as a single file.

Everything read is checked before use, for it may come from anybody; whatever is wrong raises ArtifactError.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discogp.circuits.circuit import Circuit
from discogp.circuits.graph import ComputationGraph
from discogp.errors import ArtifactError, DiscoGPError, GraphError

FORMAT = "discogp-circuit"
VERSION = 1
MAX_JSON_BYTES = 64 * 2**20
# A file may claim any number of layers and heads; building the graph of an absurd claim would fill the memory.
MAX_EDGES = 10_000_000
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def circuit_to_json(circuit: Circuit) -> str:
    """The single-file form: edges, all scores and provenance; weight masks only as densities."""
    return write_document(circuit, single_file=True)


def circuit_from_json(text: str | bytes, source: str = "the text") -> Circuit:
    """Read the single-file form. An edge that the file gives no score ranks below every edge that it lists.

    Raises ArtifactError for anything malformed, and for a circuit of weights alone: its masks are in a folder only.
    """
    size = len(text)
    if size > MAX_JSON_BYTES:
        raise ArtifactError(f"{source} has {size:,} bytes; a circuit JSON has at most {MAX_JSON_BYTES:,}")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ArtifactError(f"{source} is not UTF-8 text, so it is no circuit JSON: {error.reason}") from error
    document = parse_document(text, source)
    graph, listed = read_edges(document, source)
    scores = _single_file_scores(document, graph, listed, source)
    return make_circuit(_without_weight_masks(document, source), graph, listed, scores, None, source)


# --- writing ---------------------------------------------------------------------------------------------


def write_document(circuit: Circuit, *, single_file: bool) -> str:
    scores = circuit.edge_scores
    if scores is not None and not np.isfinite(scores).all():
        place = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ArtifactError(f"the score of {circuit.graph.edges[place].name} is {scores[place]}; scores must be finite")
    kept = circuit.strongest()
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "graph": circuit.graph.to_json(),
        "ablation": circuit.ablation,
        "searched": circuit.searched,
        "n_edges": {"kept": circuit.n_edges, "total": circuit.graph.n_edges},
        # str() of a float32 is the shortest decimal that reads back as the same float32.
        "edges": {e.name: None if scores is None else float(str(scores[e.index])) for e in kept},
        "weights": _weights_summary(circuit),
        "provenance": as_json(circuit.provenance, "provenance"),
    }
    if single_file:
        encoded = None if scores is None else base64.b64encode(scores.astype("<f4").tobytes()).decode()
        document["all_edge_scores"] = encoded
    # ASCII escapes keep the file writable whatever a model's name or a prompt holds, lone surrogates included.
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _weights_summary(circuit: Circuit) -> dict[str, Any] | None:
    if circuit.weight_masks is None:
        return None
    masks = {name: {"shape": list(m.shape), "kept": int(m.sum())} for name, m in circuit.weight_masks.items()}
    density = {"density": circuit.weight_density, "density_of_searched": circuit.searched_weight_density}
    return {**density, "unmasked": circuit.unmasked_weights, "masks": masks}


def as_json(value: Any, where: str) -> Any:
    """The value as plain JSON: numpy scalars and tuples become Python's, NaN and infinities null (JSON has neither)."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): as_json(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return as_json(value.tolist(), where)
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (bytes, bytearray)):
        items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return [as_json(item, f"{where}[{i}]") for i, item in enumerate(items)]
    raise ArtifactError(f"{where} is a {type(value).__name__}, which JSON cannot hold; use numbers, texts, lists")


# --- reading ---------------------------------------------------------------------------------------------


def read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_JSON_BYTES:
            raise ArtifactError(f"{path} has {size:,} bytes; a circuit JSON has at most {MAX_JSON_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error


def read_text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path} is not UTF-8 text, so it is no circuit JSON: {error.reason}") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it holds {twice!r} twice")
    return found


def parse_document(text: str, source: str) -> dict[str, Any]:
    try:
        document = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ArtifactError(f"{source} is not a valid circuit JSON: {reason}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ArtifactError(f'{source} is no circuit: a circuit JSON is an object with "format": "{FORMAT}"')
    version = document.get("version")
    if version != VERSION or isinstance(version, bool):
        raise ArtifactError(
            f"{source} has version {version!r}; this program reads version {VERSION}. "
            f"Save it again with a matching release"
        )
    return document


def read_edges(document: dict[str, Any], source: str) -> tuple[ComputationGraph, dict[int, float | None]]:
    """The graph, and for each kept edge by its index the score that the document gives it."""
    graph = _graph(document.get("graph"), source)
    edges = document.get("edges")
    if not isinstance(edges, dict):
        raise ArtifactError(f'{source}: "edges" must map the names of the kept edges to scores')
    listed: dict[int, float | None] = {}
    for name, score in edges.items():
        try:
            listed[graph.index(name)] = _score(name, score, source)
        except GraphError as error:
            raise ArtifactError(f"{source}: {error}") from error
    return graph, listed


def make_circuit(
    document: dict[str, Any],
    graph: ComputationGraph,
    kept: Iterable[int],
    scores: NDArray[np.float32] | None,
    weights: Mapping[str, NDArray[np.bool_]] | None,
    source: str,
) -> Circuit:
    """The circuit of these parts and the document's ablation, searched and provenance."""
    mask = np.zeros(graph.n_edges, dtype=bool)
    mask[list(kept)] = True
    provenance = document.get("provenance")
    if not isinstance(provenance, dict):
        raise ArtifactError(f'{source}: "provenance" must be an object')
    ablation, searched = document.get("ablation"), document.get("searched")
    unmasked = 0 if weights is None else document["weights"].get("unmasked", 0)  # older files: every weight is masked
    if not isinstance(unmasked, int) or isinstance(unmasked, bool) or unmasked < 0:
        raise ArtifactError(f'{source}: "unmasked" of the weights is {str(unmasked)[:40]}; it must be a whole number')
    try:
        return Circuit(graph, mask, scores, weights, ablation, searched, provenance, unmasked)  # type: ignore[arg-type]
    except (DiscoGPError, TypeError) as error:
        raise ArtifactError(f"{source}: {error}") from error


def _graph(claim: Any, source: str) -> ComputationGraph:
    if not isinstance(claim, dict):
        raise ArtifactError(f'{source}: "graph" must be an object with n_layers and n_heads')
    layers, heads = _size(claim, "n_layers", source), _size(claim, "n_heads", source)
    kinds = {name: claim.get(name, False) for name in ("parallel", "joint_heads")}
    for name, value in kinds.items():
        if not isinstance(value, bool):
            raise ArtifactError(f'{source}: "{name}" of the graph is {value!r}; it is true or false')
    if 1.5 * (layers * heads) ** 2 > MAX_EDGES:
        raise ArtifactError(f"{source}: a graph of {layers} layers × {heads} heads is beyond {MAX_EDGES:,} edges")
    return ComputationGraph(layers, heads, **kinds)


def _size(claim: dict[str, Any], name: str, source: str) -> int:
    size = claim.get(name)
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_EDGES:
        raise ArtifactError(f"{source}: {name} of the graph is {str(size)[:40]}; it must be a whole number from 1 on")
    return size


def _score(name: str, score: Any, source: str) -> float | None:
    if score is None:
        return None
    if isinstance(score, bool) or not isinstance(score, (int, float)) or abs(score) > _FLOAT32_MAX:
        raise ArtifactError(f"{source}: the score of {name} is {str(score)[:40]}; it must be a finite number or null")
    return float(score)


def _single_file_scores(
    document: dict[str, Any], graph: ComputationGraph, listed: Mapping[int, float | None], source: str
) -> NDArray[np.float32] | None:
    given = {index: score for index, score in listed.items() if score is not None}
    if given and len(given) < len(listed):
        without = len(listed) - len(given)
        raise ArtifactError(f"{source}: {without} of {len(listed)} edges have no score; give all or none")
    encoded = document.get("all_edge_scores")
    if encoded is None:
        if not given:
            return None
        # Scores say how certainly an edge is kept, so one that is not listed must rank last.
        scores = np.full(graph.n_edges, min(0.0, *given.values()), dtype=np.float32)
    else:
        try:
            raw = base64.b64decode(encoded, validate=True)
        except (ValueError, TypeError) as error:
            raise ArtifactError(f'{source}: "all_edge_scores" is not base64: {error}') from error
        if len(raw) != 4 * graph.n_edges:
            raise ArtifactError(f'{source}: "all_edge_scores" has {len(raw)} bytes; {graph.n_edges} edges need 4 each')
        scores = np.frombuffer(raw, dtype="<f4").astype(np.float32)
        check_finite(scores, graph, source)
    scores[list(given)] = list(given.values())
    return scores


def _without_weight_masks(document: dict[str, Any], source: str) -> dict[str, Any]:
    """What a file without its weight masks still says: a circuit of edges, with a note about what was left out."""
    weights, provenance = document.get("weights"), document.get("provenance")
    if weights is None or not isinstance(provenance, dict):
        return document
    if document.get("searched") == "weights":
        raise ArtifactError(f"{source} is a circuit of weights, whose masks are in its folder only; open the folder")
    density = weights.get("density") if isinstance(weights, dict) else None
    noted = {**provenance, "weight_masks_left_out": {"density": density}}
    return {**document, "searched": "edges", "provenance": noted}


def check_finite(scores: NDArray[np.float32], graph: ComputationGraph, source: str) -> None:
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        name = graph.edges[bad[0]].name
        raise ArtifactError(f"{source}: the score of {name} is {scores[bad[0]]}; scores must be finite")
