"""Which form a circuit file has, whatever it is called; and what to do with one that is none.

Everything here may come from anybody: size first, then the first bytes, then the text; nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np

from discogp.circuits.circuit import ATTRIBUTION, Circuit
from discogp.circuits.document import MAX_JSON_BYTES, circuit_from_json
from discogp.circuits.foreign import edge_lists, mib
from discogp.circuits.foreign.names import has_hooks
from discogp.circuits.graph import ComputationGraph
from discogp.errors import ArtifactError, ConfigError

ENDINGS = ("json", "txt", "csv", "tsv")
FORMS = "a circuit JSON, MIB / EAP-IG JSON, or a list of edges as text, CSV or JSON"
_BINARY = {
    b"\x1f\x8b": "compressed (gzip); unpack it first",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF",
    b"\x89HDF": "HDF5",
}


class NeedsModelError(ArtifactError):
    """A list of edges without its model, whose layers and heads it does not say."""


def read_circuit(content: bytes, source: str, graph: ComputationGraph | None = None) -> Circuit:
    """The circuit in a file's bytes, of any form that is known here; `source` names the file in errors.

    `graph`: the model's, which lists of edges need and any other form must agree with. Raises ArtifactError for what
    cannot be read, with the reason. The provenance of a foreign circuit says where it is from (`imported_from`).
    """
    text = _text(content, source)
    start = text.lstrip()[:1]
    if not start:
        raise ArtifactError(f"{source} is empty; it should hold {FORMS}")
    if start not in ("{", "[") and not source.lower().endswith(".json"):
        graph = graph or _shape(text, source)
        listed = partial(edge_lists.rows_of_text, text)
        return _told(_listed(listed, source, graph, hooks=has_hooks(text)), content, source)
    document = _json(text, source)
    if mib.is_mib(document):
        return _of_model(_told(mib.read_mib(document, source), content, source), graph, source)
    if isinstance(document, list) or _maps_edges(document):
        listed = partial(edge_lists.rows_of_json, document)
        return _told(_listed(listed, source, graph, hooks=has_hooks(text)), content, source)
    circuit = circuit_from_json(text, source)
    return circuit if graph is None else _of_model(_told(circuit, content, source), graph, source)


def _listed(
    rows: Callable[..., Iterator[edge_lists.Row]], source: str, graph: ComputationGraph | None, *, hooks: bool
) -> Circuit:
    if graph is None:
        raise NeedsModelError(
            f"{source} is a list of edges, which does not say how many layers and heads its model has; name the model "
            "(discogp import FILE --model M, or load_circuit(file, graph=model.graph))"
        )
    left_out: list[str] = []
    origin: dict[str, Any] = {"form": "ACDC's hooks" if hooks else edge_lists.FORM}
    try:
        circuit = edge_lists.circuit_of_rows(rows(graph, left_out), graph, {})
    except ArtifactError as error:
        raise ArtifactError(f"{source}: {error}") from error
    if left_out:
        origin["left_out"] = f"{len(left_out)} edges within a component, which are no edges here"
    kind = {} if circuit.edge_scores is None or not hooks else {"score_kind": ATTRIBUTION}
    return replace(circuit, provenance={"imported_from": origin, **kind})


def _shape(text: str, source: str) -> ComputationGraph | None:
    try:
        return edge_lists.shape_in(text)
    except ArtifactError as error:
        raise ArtifactError(f"{source}: {error}") from error


def _told(circuit: Circuit, content: bytes, source: str) -> Circuit:
    origin = {
        "file": PurePath(source).name,
        "sha256": hashlib.sha256(content).hexdigest(),
        **circuit.provenance.get("imported_from", {"form": "circuit JSON"}),
    }
    return replace(circuit, provenance={**circuit.provenance, "imported_from": origin})


def _of_model(circuit: Circuit, graph: ComputationGraph | None, source: str) -> Circuit:
    """The circuit on the model's own graph. ArtifactError if the two have other edges."""
    if graph is None or circuit.graph == graph:
        return circuit
    theirs = circuit.graph
    if (theirs.n_layers, theirs.n_heads, theirs.parallel) == (graph.n_layers, graph.n_heads, graph.parallel):
        return replace(circuit, graph=graph)  # foreign files do not know of norms behind attention
    raise ArtifactError(f"{source} is of {_words(theirs)}; the model is of {_words(graph)}. Name the model it is of")


def _words(graph: ComputationGraph) -> str:
    kind = "attention and MLP side by side" if graph.parallel else "attention before MLP"
    return f"{graph.n_layers} layers × {graph.n_heads} heads, {kind}"


def _text(content: bytes, source: str) -> str:
    if len(content) > MAX_JSON_BYTES:
        raise ArtifactError(f"{source} has {len(content):,} bytes; a circuit file has at most {MAX_JSON_BYTES:,}")
    if content.startswith(b"PK\x03\x04") or (content[:1] == b"\x80" and content[1:2] in (b"\2", b"\3", b"\4", b"\5")):
        raise ArtifactError(
            f"{source} is a pickle (torch.save, a .pt or .pkl), and opening one runs whatever code is in it, so it is "
            "not read. Where it was made, write it as JSON: with EAP-IG, Graph.from_pt(FILE).to_json('circuit.json'); "
            "with ACDC, its edges as text, an edge a line"
        )
    for magic, what in _BINARY.items():
        if content.startswith(magic):
            raise ArtifactError(f"{source} is {what}; a circuit file is {FORMS}")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ArtifactError(f"{source} is UTF-16 text; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{source} is not UTF-8 text, so it is no circuit JSON: {error.reason}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"it holds {name[:80]!r} twice")
        found[name] = value
    return found


def _json(text: str, source: str) -> Any:
    try:
        # EAP-IG writes NaN for a node that it gave no score.
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise ArtifactError(f"{source} is not a valid circuit JSON: {reason}") from error


def _maps_edges(document: Any) -> bool:
    return isinstance(document, dict) and bool(document) and all("->" in name or has_hooks(name) for name in document)


def keep(circuit: Circuit, n_edges: int | None = None, threshold: float | None = None) -> Circuit:
    """The circuit's strongest edges by its scores: so many, or those from a threshold on.

    Attributions count by size, mask logits as they are. ConfigError without scores, for a number that is none, and for
    both at once.
    """
    if n_edges is None and threshold is None:
        return circuit
    if n_edges is not None and threshold is not None:
        raise ConfigError(f"{n_edges} edges and the threshold {threshold} cannot both hold; give one")
    ranks = circuit.importance
    if ranks is None:
        raise ConfigError("this circuit has no scores to choose edges by; give neither a number nor a threshold")
    if n_edges is None:
        if not np.isfinite(threshold):  # type: ignore[arg-type]  # one of the two is given
            raise ConfigError(f"the threshold is {threshold}; it must be a finite number")
        mask = ranks >= threshold  # type: ignore[operator]
    else:
        if not 1 <= n_edges <= circuit.graph.n_edges:
            raise ConfigError(f"{n_edges} edges cannot be kept; the graph has 1 to {circuit.graph.n_edges:,}")
        mask = np.zeros(circuit.graph.n_edges, dtype=bool)
        mask[np.argsort(-ranks, kind="stable")[:n_edges]] = True
    origin = circuit.provenance.get("imported_from")
    chosen = {"edges": n_edges} if threshold is None else {"threshold": threshold}
    told = {**(origin if isinstance(origin, Mapping) else {}), "chosen_by": chosen}
    return replace(circuit, edge_mask=mask, provenance={**circuit.provenance, "imported_from": told})


def undecided(circuit: Circuit) -> str | None:
    """Why a file's circuit needs a number of edges or a threshold; None if it says which edges it keeps."""
    if circuit.edge_scores is None or 0 < circuit.n_edges < circuit.graph.n_edges:
        return None
    kept = "none of its edges" if not circuit.n_edges else "every edge of the model"
    return f"the file has scores but keeps {kept}; say how many of the strongest to keep, or a threshold"


def notes(circuit: Circuit) -> Iterator[str]:
    """What is to be said of a circuit from elsewhere, a line each."""
    origin = circuit.provenance.get("imported_from")
    if isinstance(origin, Mapping):
        yield f"read as {origin.get('form')}: {circuit.n_edges:,} of {circuit.graph.n_edges:,} edges kept"
        if origin.get("left_out"):
            yield str(origin["left_out"])
