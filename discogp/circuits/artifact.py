"""Circuits on disk: a folder of `circuit.json` + `masks.safetensors`, or one readable JSON file.

The folder is lossless: the JSON holds what people read (kept edges with their scores, provenance), the
safetensors file holds every edge's score [E] float32 and all masks as packed bits, one bit a weight, so the
85 million mask bits of GPT-2 small take 10.6 MB. The single file (`discogp.circuits.document`) holds the edges and
all edge scores, and only sums weight masks up. Whatever is wrong with either raises ArtifactError.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from discogp.circuits.circuit import Circuit
from discogp.circuits.document import (
    check_finite,
    circuit_from_json,
    circuit_to_json,
    make_circuit,
    parse_document,
    read_bytes,
    read_edges,
    read_text,
    write_document,
)
from discogp.circuits.foreign.reading import read_circuit
from discogp.circuits.graph import ComputationGraph
from discogp.errors import ArtifactError
from discogp.paths import replaced_folder

__all__ = ["circuit_from_json", "circuit_to_json", "load_circuit", "save_circuit"]

CIRCUIT_FILE = "circuit.json"
MASKS_FILE = "masks.safetensors"
MAX_MASK_BYTES = 4 * 2**30
_WEIGHTS = "weights/"


def save_circuit(circuit: Circuit, folder: str | Path) -> Path:
    """Write a circuit folder and return its path. A reader never sees parts of the old one mixed with the new.

    An empty folder or an earlier circuit folder at that place is replaced; ArtifactError for anything else in
    the way, for scores that are not finite, for provenance that JSON cannot hold, and for a full disk.
    """
    target = Path(folder)
    check_replaceable(target)
    text = write_document(circuit, single_file=False)
    tensors: dict[str, NDArray[Any]] = {"edge_mask": np.packbits(circuit.edge_mask)}
    if circuit.edge_scores is not None:
        tensors["edge_scores"] = np.ascontiguousarray(circuit.edge_scores)
    for name, mask in (circuit.weight_masks or {}).items():
        tensors[_WEIGHTS + name] = np.packbits(mask.reshape(-1))
    try:
        with replaced_folder(target) as staging:
            (staging / CIRCUIT_FILE).write_text(text, encoding="utf-8")
            save_file(tensors, staging / MASKS_FILE)
            (staging / MASKS_FILE).chmod((staging / CIRCUIT_FILE).stat().st_mode)  # safetensors makes files private
    except (OSError, ValueError, SafetensorError) as error:  # ValueError: a name with a null character
        raise ArtifactError(f"cannot write the circuit to {target}: {error}") from error
    return target


def load_circuit(folder: str | Path, graph: ComputationGraph | None = None) -> Circuit:
    """Read a circuit folder or file; ArtifactError says what is wrong with it.

    Files: a circuit JSON, or one of another program's (`discogp.circuits.foreign`), of which lists of edges need the
    model's `graph`.
    """
    path = Path(folder)
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except OSError as error:
        raise ArtifactError(f"cannot look for a circuit at {str(path)[:200]}: {error.strerror}") from error
    if is_file:
        return read_circuit(read_bytes(path), str(path), graph)
    if not is_folder:
        raise ArtifactError(f"there is no circuit at {path}: it needs {CIRCUIT_FILE} and {MASKS_FILE}")
    if not (path / CIRCUIT_FILE).is_file():
        raise ArtifactError(f"{path} is no circuit folder: it has no {CIRCUIT_FILE}")
    if not (path / MASKS_FILE).is_file():
        raise ArtifactError(f"{path} is no complete circuit folder: it has no {MASKS_FILE}")
    source = str(path)
    document = parse_document(read_text(path / CIRCUIT_FILE), str(path / CIRCUIT_FILE))
    tensors = _read_tensors(path / MASKS_FILE)
    graph, listed = read_edges(document, source)
    circuit = make_circuit(
        document,
        graph,
        listed,
        _scores(tensors, graph, source),
        _weight_masks(document, tensors, source),
        source,
    )
    _check_same_edges(circuit, tensors, source)
    return circuit


# --- writing ---------------------------------------------------------------------------------------------


def check_replaceable(target: Path) -> None:
    """ArtifactError unless `save_circuit` may write there: nothing yet, an empty folder, or another circuit."""
    try:
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise ArtifactError(f"{target} is in the way and is not a circuit folder; choose another name")
        present = {entry.name for entry in target.iterdir()} if target.exists() else set()
    except OSError as error:
        raise ArtifactError(f"cannot look into {str(target)[:200]}: {error.strerror or error}") from error
    foreign = sorted(present - {CIRCUIT_FILE, MASKS_FILE})
    if foreign:
        raise ArtifactError(
            f"{target} holds other things than a circuit ({', '.join(foreign[:3])}); it is left as it is. "
            f"Choose a folder of its own"
        )
    if present:
        # Raises unless it is a circuit's.
        parse_document(read_text(target / CIRCUIT_FILE), str(target / CIRCUIT_FILE))


# --- reading ---------------------------------------------------------------------------------------------


def _read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    try:
        size = path.stat().st_size
        if size > MAX_MASK_BYTES:
            raise ArtifactError(f"{path} has {size:,} bytes; masks have at most {MAX_MASK_BYTES:,}")
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{path} cannot be read as safetensors (cut short or damaged?): {error}") from error


def _check_same_edges(circuit: Circuit, tensors: dict[str, NDArray[Any]], source: str) -> None:
    if "edge_mask" not in tensors:
        raise ArtifactError(f'{source}: {MASKS_FILE} has no "edge_mask"')
    stored = _unpack(tensors["edge_mask"], (circuit.graph.n_edges,), "edge_mask", source)
    if not np.array_equal(stored, circuit.edge_mask):
        raise ArtifactError(f"{source}: {CIRCUIT_FILE} and {MASKS_FILE} keep different edges")


def _scores(tensors: dict[str, NDArray[Any]], graph: ComputationGraph, source: str) -> NDArray[np.float32] | None:
    scores = tensors.get("edge_scores")
    if scores is None:
        return None
    if scores.shape != (graph.n_edges,) or scores.dtype != np.float32:
        raise ArtifactError(
            f"{source}: edge_scores are {scores.dtype} {scores.shape}; this graph needs float32 ({graph.n_edges},)"
        )
    check_finite(scores, graph, source)
    return scores


def _weight_masks(
    document: dict[str, Any], tensors: dict[str, NDArray[Any]], source: str
) -> dict[str, NDArray[np.bool_]] | None:
    stored = {name.removeprefix(_WEIGHTS) for name in tensors if name.startswith(_WEIGHTS)}
    summary = document.get("weights")
    if summary is None and not stored:
        return None
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
            raise ArtifactError(f"{source}: the shape of {name} must be a list of sizes, not {str(shape)[:60]}")
        masks[name] = _unpack(tensors[_WEIGHTS + name], tuple(shape), name, source)
    return masks


def _unpack(bits: NDArray[Any], shape: tuple[int, ...], name: str, source: str) -> NDArray[np.bool_]:
    size = math.prod(shape)
    if bits.dtype != np.uint8 or bits.shape != ((size + 7) // 8,):
        raise ArtifactError(
            f"{source}: {name} is stored as {bits.dtype} {bits.shape}; "
            f"its shape {shape} needs {(size + 7) // 8} bytes of packed bits"
        )
    return np.unpackbits(bits, count=size).astype(bool).reshape(shape)
