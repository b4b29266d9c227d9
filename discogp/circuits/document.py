"""A circuit as JSON: the readable half of a circuit folder, and whole as a single file.

Everything read is checked before use, for it may come from anybody; whatever is wrong raises ArtifactError.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from discogp import reading
from discogp.circuits.circuit import Circuit
from discogp.circuits.graph import ComputationGraph
from discogp.circuits.schema import DOCUMENT, FORMAT, VERSION, Document, Weights
from discogp.errors import ArtifactError, ContentError, DiscoGPError, GraphError, brief
from discogp.reading import DEEPEST, Seal, as_text, checked, parse_json, sealed, unsealed

CHECKSUMS_FILE = "SHA256SUMS"
MAX_JSON_BYTES = 64 * 2**20
# A file of few bytes may claim any number of layers and heads. A model of 7 billion weights has about 2 million edges.
MAX_EDGES = 4_000_000
_FLOAT32_MAX = float(np.finfo(np.float32).max)
UNSEALED = "{} has no checksum (an older release or another program wrote it), so damage to it cannot be told"


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
    document, seal = parse_document(text, source)
    notes = () if seal is Seal.WHOLE else (UNSEALED.format(source),)
    if "checksums" in document:
        notes = (f"{source} is one file of a circuit folder: the masks and checksums beside it were not read",)
    with told_with(source, seal.value if seal is Seal.BROKEN else None):
        graph, listed = read_edges(document, source)
        scores = _single_file_scores(document, graph, listed, source)
        return make_circuit(_without_weight_masks(document, source), graph, listed, scores, None, source, notes)


# --- writing ---------------------------------------------------------------------------------------------


def write_document(circuit: Circuit, *, single_file: bool) -> str:
    scores = circuit.edge_scores
    if scores is not None and not np.isfinite(scores).all():
        place = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ArtifactError(
            f"the score of {circuit.graph.edges_at([place])[0].name} is {scores[place]}; scores must be finite"
        )
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
        document = sealed(document | {"all_edge_scores": encoded})
    else:
        document["checksums"] = CHECKSUMS_FILE
    # ASCII escapes keep the file writable whatever a model's name or a prompt holds, lone surrogates included.
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    if len(text) > MAX_JSON_BYTES:
        raise ArtifactError(f"the circuit's JSON has {len(text):,} bytes; at most {MAX_JSON_BYTES:,} are read again")
    parse_document(text, "the circuit to be saved")  # what nobody could open again is told now
    return text


def _weights_summary(circuit: Circuit) -> dict[str, Any] | None:
    if circuit.weight_masks is None:
        return None
    masks = {name: {"shape": list(m.shape), "kept": int(m.sum())} for name, m in circuit.weight_masks.items()}
    density = {"density": circuit.weight_density, "density_of_searched": circuit.searched_weight_density}
    return {**density, "unmasked": circuit.unmasked_weights, "masks": masks}


def as_json(value: Any, where: str, depth: int = 0) -> Any:
    """The value as plain JSON: numpy scalars and tuples become Python's, NaN and infinities null (JSON has neither)."""
    if depth > DEEPEST:
        raise ArtifactError(f"{where[:80]}… is nested too deeply; {DEEPEST} levels are the most")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        found = {str(key): as_json(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
        if len(found) != len(value):
            raise ArtifactError(f"{where} has two keys that are one as text, of {', '.join(map(repr, value))[:80]}")
        return found
    if isinstance(value, np.ndarray):
        return as_json(value.tolist(), where, depth)
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (bytes, bytearray)):
        items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return [as_json(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(items)]
    raise ArtifactError(f"{where} is a {type(value).__name__}, which JSON cannot hold; use numbers, texts, lists")


# --- reading ---------------------------------------------------------------------------------------------


def read_file(path: Path, most: int | None = None) -> bytes:
    """The bytes of a file of a circuit, by default at most those of a JSON."""
    try:
        return reading.read_bytes(path, MAX_JSON_BYTES if most is None else most)
    except FileNotFoundError:
        raise ArtifactError(f"there is no file {path}") from None
    except ContentError as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error


@contextmanager
def told_with(source: str, damage: str | None) -> Iterator[None]:
    """ArtifactError with the damage that a checksum tells of, and before it what is wrong with what was read."""
    try:
        yield
    except ArtifactError as error:
        raise error if damage is None else ArtifactError(f"{error}; {damage}") from error
    if damage is not None:
        raise ArtifactError(f"{source}: {damage}")


def parse_document(text: str | bytes, source: str) -> tuple[Document, Seal]:
    """A circuit's JSON, with what it must hold of the right types, and what its seal tells."""
    try:
        found = parse_json(as_text(text) if isinstance(text, bytes) else text)
    except ContentError as error:
        raise ArtifactError(f"{source} is not a valid circuit JSON: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ArtifactError(f'{source} is no circuit: a circuit JSON is an object with "format": "{FORMAT}"')
    version = found.get("version")
    if version != VERSION or isinstance(version, bool):
        raise ArtifactError(
            f"{source} has version {brief(version)}; this program reads version {VERSION}. "
            f"Save it again with a matching release"
        )
    try:
        found, seal = unsealed(found)
        checked(DOCUMENT, found)
    except ContentError as error:
        raise ArtifactError(f"{source} cannot be read: {error}") from error
    return cast("Document", found), seal


def read_edges(document: Document, source: str) -> tuple[ComputationGraph, dict[int, float | None]]:
    """The graph, and for each kept edge by its index the score that the document gives it."""
    graph = ComputationGraph(**document["graph"])
    if graph.n_edges > MAX_EDGES:
        raise ArtifactError(
            f"{source}: a graph of {graph.n_layers} layers × {graph.n_heads} heads has {graph.n_edges:,} edges, "
            f"which is beyond {MAX_EDGES:,}"
        )
    listed: dict[int, float | None] = {}
    for name, score in document["edges"].items():
        try:
            index = graph.index(name)
        except GraphError as error:
            raise ArtifactError(f"{source}: {error}") from error
        if score is not None and abs(score) > _FLOAT32_MAX:
            raise ArtifactError(f"{source}: the score of {name} is {brief(score)}; it must be a finite float32 or null")
        listed[index] = None if score is None else float(score)
    return graph, listed


def _check_densities(weights: Weights | None, source: str) -> None:
    """ArtifactError where the densities are not those of the counts beside them."""
    kept = [mask.get("kept") for mask in weights["masks"].values()] if weights else []
    if weights is None or None in kept:
        return
    total, unmasked = sum(math.prod(mask["shape"]) for mask in weights["masks"].values()), weights.get("unmasked", 0)
    for name, rest in (("density", unmasked), ("density_of_searched", 0)):
        said, counted = weights.get(name), (sum(k or 0 for k in kept) + rest) / max(total + rest, 1)
        if said is not None and abs(said - counted) > 1e-9:
            raise ArtifactError(f"{source} contradicts itself: {name} of the weights is {said}, counted {counted}")


def make_circuit(
    document: Document,
    graph: ComputationGraph,
    kept: Iterable[int],
    scores: NDArray[np.float32] | None,
    weights: Mapping[str, NDArray[np.bool_]] | None,
    source: str,
    notes: tuple[str, ...] = (),
) -> Circuit:
    """The circuit of these parts and the document's ablation, searched and provenance."""
    mask = np.zeros(graph.n_edges, dtype=bool)
    mask[list(kept)] = True
    summary = document.get("weights")
    unmasked = 0 if weights is None or summary is None else summary.get("unmasked", 0)
    ablation, searched, provenance = document["ablation"], document["searched"], dict(document["provenance"])
    try:
        circuit = Circuit(graph, mask, scores, weights, ablation, searched, provenance, unmasked, notes)
    except DiscoGPError as error:
        raise ArtifactError(f"{source}: {error}") from error
    counted = document.get("n_edges")
    if counted is not None and (counted["kept"], counted["total"]) != (circuit.n_edges, graph.n_edges):
        raise ArtifactError(
            f"{source} contradicts itself: n_edges says {counted['kept']:,} of {counted['total']:,}, and it lists "
            f"{circuit.n_edges:,} of the graph's {graph.n_edges:,}"
        )
    _check_densities(summary, source)
    return circuit


def _single_file_scores(
    document: Document, graph: ComputationGraph, listed: Mapping[int, float | None], source: str
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
        check_scores(scores, graph, given, source)
    scores[list(given)] = list(given.values())
    return scores


def _without_weight_masks(document: Document, source: str) -> Document:
    """What a file without its weight masks still says: a circuit of edges, with a note about what was left out."""
    weights = document.get("weights")
    if document["searched"] == "weights":
        raise ArtifactError(f"{source} is a circuit of weights, whose masks are in its folder only; open the folder")
    if weights is None:
        return document
    noted = {**document["provenance"], "weight_masks_left_out": {"density": weights.get("density")}}
    return cast("Document", {**document, "searched": "edges", "provenance": noted})


def check_scores(
    scores: NDArray[np.float32], graph: ComputationGraph, listed: Mapping[int, float], source: str
) -> None:
    """ArtifactError unless all scores [E] are finite, and those that are listed beside them the same."""
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        name = graph.edges_at(bad[:1])[0].name
        raise ArtifactError(f"{source}: the score of {name} is {scores[bad[0]]}; scores must be finite")
    places = np.fromiter(listed, dtype=np.int64)
    given = np.fromiter(listed.values(), dtype=np.float64).astype(np.float32)
    if (other := np.flatnonzero(scores[places] != given)).size:
        index = int(places[other[0]])
        raise ArtifactError(
            f"{source} contradicts itself: the score of {graph.edges_at([index])[0].name} is {listed[index]} and "
            f"{scores[index]}"
        )
