"""Circuits on disk: a folder of `circuit.json` + `masks.safetensors`, or one readable JSON file.

The folder is lossless: the JSON holds what people read (kept edges with their scores, provenance), the
safetensors file holds every edge's score [E] float32 and all masks as packed bits, one bit a weight, so the
85 million mask bits of GPT-2 small take 10.6 MB. The single file holds the edges and all edge scores, and
only sums weight masks up. Whatever is read is checked before use; whatever is wrong raises ArtifactError.
"""

from __future__ import annotations

import base64
import json
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from discogp.circuit import Circuit
from discogp.errors import ArtifactError, DiscoGPError
from discogp.graph import ComputationGraph

FORMAT = "discogp-circuit"
VERSION = 1
CIRCUIT_FILE = "circuit.json"
MASKS_FILE = "masks.safetensors"
MAX_JSON_BYTES = 64 * 2**20
MAX_MASK_BYTES = 4 * 2**30
# A file may claim any number of layers and heads; building the graph of an absurd claim would fill the memory.
MAX_EDGES = 10_000_000
_WEIGHTS = "weights/"
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def save_circuit(circuit: Circuit, folder: str | Path) -> Path:
    """Write a circuit folder and return its path. A reader sees the old folder or the new one, never a mixture.

    An empty folder or an earlier circuit folder at that place is replaced; ArtifactError for anything else in
    the way, for scores that are not finite, for provenance that JSON cannot hold, and for a full disk.
    """
    target = Path(folder)
    _check_replaceable(target)
    text = _document(circuit, single_file=False)
    tensors: dict[str, NDArray[Any]] = {"edge_mask": np.packbits(circuit.edge_mask)}
    if circuit.edge_scores is not None:
        tensors["edge_scores"] = np.ascontiguousarray(circuit.edge_scores)
    for name, mask in (circuit.weight_masks or {}).items():
        tensors[_WEIGHTS + name] = np.packbits(mask.reshape(-1))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    except OSError as error:
        raise ArtifactError(f"cannot write beside {target}: {error.strerror or error}") from error
    try:
        # mkdtemp makes folders private; a saved circuit should be as readable as its surroundings.
        staging.chmod(0o755)
        (staging / CIRCUIT_FILE).write_text(text, encoding="utf-8")
        save_file(tensors, staging / MASKS_FILE)
        _swap(staging, target)
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"cannot write the circuit to {target}: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def load_circuit(folder: str | Path) -> Circuit:
    """Read a circuit folder, or a single circuit JSON file; ArtifactError says what is wrong with it."""
    path = Path(folder)
    if path.is_file():
        return circuit_from_json(_read_text(path), source=str(path))
    if not path.is_dir():
        raise ArtifactError(f"there is no circuit at {path}: it needs {CIRCUIT_FILE} and {MASKS_FILE}")
    if not (path / CIRCUIT_FILE).is_file():
        raise ArtifactError(f"{path} is no circuit folder: it has no {CIRCUIT_FILE}")
    if not (path / MASKS_FILE).is_file():
        raise ArtifactError(f"{path} is no complete circuit folder: it has no {MASKS_FILE}")
    document = _parse(_read_text(path / CIRCUIT_FILE), str(path / CIRCUIT_FILE))
    return _build(document, str(path), _read_tensors(path / MASKS_FILE))


def circuit_to_json(circuit: Circuit) -> str:
    """The single-file form: edges, all scores and provenance; weight masks only as densities."""
    return _document(circuit, single_file=True)


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
            raise ArtifactError(
                f"{source} is not UTF-8 text, so it is no circuit JSON: {error.reason}"
            ) from error
    return _build(_parse(text, source), source, None)


# --- writing ---------------------------------------------------------------------------------------------


def _check_replaceable(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ArtifactError(f"{target} is in the way and is not a circuit folder; choose another name")
    if not target.exists():
        return
    try:
        present = {entry.name for entry in target.iterdir()}
        foreign = sorted(present - {CIRCUIT_FILE, MASKS_FILE})
        if foreign:
            raise ArtifactError(
                f"{target} holds other things than a circuit ({', '.join(foreign[:3])}); it is left as it is. "
                f"Choose a folder of its own"
            )
        if present and _parse(_read_text(target / CIRCUIT_FILE), str(target)).get("format") != FORMAT:
            raise ArtifactError(
                f"{target} is not a circuit folder; it is left as it is. Choose another folder"
            )
    except OSError as error:
        raise ArtifactError(f"cannot look into {target}: {error.strerror or error}") from error


def _swap(staging: Path, target: Path) -> None:
    """Put the staged folder at its place. Renaming over a folder with files fails, so the old one steps aside first."""
    if not target.exists():
        staging.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    target.rename(aside / "circuit")
    try:
        staging.rename(target)
    except OSError:
        (aside / "circuit").rename(target)
        raise
    finally:
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)


def _document(circuit: Circuit, *, single_file: bool) -> str:
    scores = circuit.edge_scores
    if scores is not None and not np.isfinite(scores).all():
        place = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ArtifactError(
            f"the score of {circuit.graph.edges[place].name} is {scores[place]}; scores must be finite"
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
        "provenance": plain(circuit.provenance, "provenance"),
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
    return {"density": circuit.weight_density, "masks": masks}


def plain(value: Any, where: str) -> Any:
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
        return {str(key): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), where)
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (bytes, bytearray)):
        items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(items)]
    raise ArtifactError(
        f"{where} is a {type(value).__name__}, which JSON cannot hold; use numbers, texts, lists"
    )


# --- reading ---------------------------------------------------------------------------------------------


def _read_text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_JSON_BYTES:
            raise ArtifactError(f"{path} has {size:,} bytes; a circuit JSON has at most {MAX_JSON_BYTES:,}")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path} is not UTF-8 text, so it is no circuit JSON: {error.reason}") from error
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it holds {twice!r} twice")
    return found


def _parse(text: str, source: str) -> dict[str, Any]:
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


def _read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    try:
        size = path.stat().st_size
        if size > MAX_MASK_BYTES:
            raise ArtifactError(f"{path} has {size:,} bytes; masks have at most {MAX_MASK_BYTES:,}")
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(
            f"{path} cannot be read as safetensors (cut short or damaged?): {error}"
        ) from error


def _build(document: dict[str, Any], source: str, tensors: dict[str, NDArray[Any]] | None) -> Circuit:
    graph = _graph(document.get("graph"), source)
    edges = document.get("edges")
    if not isinstance(edges, dict):
        raise ArtifactError(f'{source}: "edges" must map the names of the kept edges to scores')
    mask = np.zeros(graph.n_edges, dtype=bool)
    listed: dict[int, float | None] = {}
    for name, score in edges.items():
        try:
            index = graph.index(name)
        except DiscoGPError as error:
            raise ArtifactError(f"{source}: {error}") from error
        mask[index] = True
        listed[index] = _score(name, score, source)
    if tensors is None:
        scores, weights = _single_file_scores(document, graph, listed, source), None
        searched, provenance = _without_weight_masks(document, source)
    else:
        scores, weights = _tensor_masks(document, tensors, mask, source)
        searched, provenance = document.get("searched"), document.get("provenance")
    if not isinstance(provenance, dict):
        raise ArtifactError(f'{source}: "provenance" must be an object')
    try:
        return Circuit(graph, mask, scores, weights, document.get("ablation"), searched, provenance)  # type: ignore[arg-type]
    except (DiscoGPError, TypeError) as error:
        raise ArtifactError(f"{source}: {error}") from error


def _graph(claim: Any, source: str) -> ComputationGraph:
    if not isinstance(claim, dict):
        raise ArtifactError(f'{source}: "graph" must be an object with n_layers and n_heads')
    layers, heads = _size(claim, "n_layers", source), _size(claim, "n_heads", source)
    parallel = claim.get("parallel", False)
    if not isinstance(parallel, bool):
        raise ArtifactError(f'{source}: "parallel" of the graph is {parallel!r}; it is true or false')
    if 1.5 * (layers * heads) ** 2 > MAX_EDGES:
        raise ArtifactError(
            f"{source}: a graph of {layers} layers × {heads} heads is beyond {MAX_EDGES:,} edges"
        )
    return ComputationGraph(layers, heads, parallel)


def _size(claim: dict[str, Any], name: str, source: str) -> int:
    size = claim.get(name)
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_EDGES:
        raise ArtifactError(
            f"{source}: {name} of the graph is {str(size)[:40]}; it must be a whole number from 1 on"
        )
    return size


def _score(name: str, score: Any, source: str) -> float | None:
    if score is None:
        return None
    if isinstance(score, bool) or not isinstance(score, (int, float)) or abs(score) > _FLOAT32_MAX:
        raise ArtifactError(
            f"{source}: the score of {name} is {str(score)[:40]}; it must be a finite number or null"
        )
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
            raise ArtifactError(
                f'{source}: "all_edge_scores" has {len(raw)} bytes; {graph.n_edges} edges need 4 each'
            )
        scores = np.frombuffer(raw, dtype="<f4").astype(np.float32)
        _check_finite(scores, graph, source)
    scores[list(given)] = list(given.values())
    return scores


def _without_weight_masks(document: dict[str, Any], source: str) -> tuple[Any, Any]:
    """What a file without its weight masks still says: a circuit of edges, with a note about what was left out."""
    searched, provenance, weights = (
        document.get("searched"),
        document.get("provenance"),
        document.get("weights"),
    )
    if weights is None or not isinstance(provenance, dict):
        return searched, provenance
    if searched == "weights":
        raise ArtifactError(
            f"{source} is a circuit of weights, whose masks are in its folder only; open the folder"
        )
    density = weights.get("density") if isinstance(weights, dict) else None
    return "edges", {**provenance, "weight_masks_left_out": {"density": density}}


def _check_finite(scores: NDArray[np.float32], graph: ComputationGraph, source: str) -> None:
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        name = graph.edges[bad[0]].name
        raise ArtifactError(f"{source}: the score of {name} is {scores[bad[0]]}; scores must be finite")


def _tensor_masks(
    document: dict[str, Any], tensors: dict[str, NDArray[Any]], mask: NDArray[np.bool_], source: str
) -> tuple[NDArray[np.float32] | None, dict[str, NDArray[np.bool_]] | None]:
    graph = _graph(document.get("graph"), source)
    if "edge_mask" not in tensors:
        raise ArtifactError(f'{source}: {MASKS_FILE} has no "edge_mask"')
    if not np.array_equal(_unpack(tensors["edge_mask"], (graph.n_edges,), "edge_mask", source), mask):
        raise ArtifactError(f"{source}: {CIRCUIT_FILE} and {MASKS_FILE} keep different edges")
    scores = tensors.get("edge_scores")
    if scores is not None:
        if scores.shape != (graph.n_edges,) or scores.dtype != np.float32:
            raise ArtifactError(
                f"{source}: edge_scores are {scores.dtype} {scores.shape}; this graph needs float32 ({graph.n_edges},)"
            )
        _check_finite(scores, graph, source)
    stored = {name.removeprefix(_WEIGHTS) for name in tensors if name.startswith(_WEIGHTS)}
    summary = document.get("weights")
    if summary is None and not stored:
        return scores, None
    shapes = summary.get("masks") if isinstance(summary, dict) else None
    if not isinstance(shapes, dict) or set(shapes) != stored:
        named = set(shapes) if isinstance(shapes, dict) else set()
        raise ArtifactError(
            f"{source}: {CIRCUIT_FILE} and {MASKS_FILE} name different weights: {', '.join(sorted(named ^ stored)[:3])}"
        )
    masks = {}
    for name, entry in shapes.items():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if not isinstance(shape, list) or not all(isinstance(n, int) and 0 <= n < 2**40 for n in shape):
            raise ArtifactError(
                f"{source}: the shape of {name} must be a list of sizes, not {str(shape)[:60]}"
            )
        masks[name] = _unpack(tensors[_WEIGHTS + name], tuple(shape), name, source)
    return scores, masks


def _unpack(bits: NDArray[Any], shape: tuple[int, ...], name: str, source: str) -> NDArray[np.bool_]:
    size = math.prod(shape)
    if bits.dtype != np.uint8 or bits.shape != ((size + 7) // 8,):
        raise ArtifactError(
            f"{source}: {name} is stored as {bits.dtype} {bits.shape}; "
            f"its shape {shape} needs {(size + 7) // 8} bytes of packed bits"
        )
    return np.unpackbits(bits, count=size).astype(bool).reshape(shape)
