"""Circuits on disk: a folder of `circuit.json` + `masks.safetensors`, or one readable JSON file.

The folder is lossless: the JSON holds what people read (kept edges with their scores, provenance), the
safetensors file holds every edge's score [E] float32 and all masks as packed bits, one bit a weight, so the
85 million mask bits of GPT-2 small take 10.6 MB. `SHA256SUMS`, which `sha256sum -c` understands, holds the
checksums of both, and a folder that they do not fit is refused. The single file (`discogp.circuits.document`)
holds the edges and all edge scores, only sums weight masks up, and carries its checksum itself. Whatever is
wrong with either raises ArtifactError; a circuit without checksums opens with a note.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save_file

from discogp.circuits.circuit import Circuit
from discogp.circuits.document import (
    CHECKSUMS_FILE,
    UNSEALED,
    check_scores,
    circuit_from_json,
    circuit_to_json,
    make_circuit,
    parse_document,
    read_edges,
    read_file,
    told_with,
    write_document,
)
from discogp.circuits.foreign.reading import read_circuit
from discogp.circuits.graph import ComputationGraph
from discogp.circuits.schema import Document
from discogp.errors import ArtifactError
from discogp.paths import replaced_folder

__all__ = ["circuit_from_json", "circuit_to_json", "load_circuit", "save_circuit"]

CIRCUIT_FILE = "circuit.json"
MASKS_FILE = "masks.safetensors"
FILES = (CIRCUIT_FILE, MASKS_FILE, CHECKSUMS_FILE)
MAX_MASK_BYTES = 2**30  # masks of 8 billion weights; in memory a bit is a byte
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
            sums = _checksums({name: (staging / name).read_bytes() for name in (CIRCUIT_FILE, MASKS_FILE)})
            (staging / CHECKSUMS_FILE).write_text(sums, encoding="ascii")
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
        if path.is_file():
            return read_circuit(read_file(path), str(path), graph)
        if not path.is_dir():
            raise ArtifactError(f"there is no circuit at {path}: it needs {CIRCUIT_FILE} and {MASKS_FILE}")
        if not (path / CIRCUIT_FILE).is_file():
            raise ArtifactError(f"{path} is no circuit folder: it has no {CIRCUIT_FILE}")
        if not (path / MASKS_FILE).is_file():
            raise ArtifactError(f"{path} is no complete circuit folder: it has no {MASKS_FILE}")
        return _open_folder(path)
    except OSError as error:
        raise ArtifactError(f"cannot look for a circuit at {str(path)[:200]}: {error.strerror}") from error


def _open_folder(path: Path) -> Circuit:
    source = str(path)
    contents = {CIRCUIT_FILE: read_file(path / CIRCUIT_FILE), MASKS_FILE: read_file(path / MASKS_FILE, MAX_MASK_BYTES)}
    stored = (path / CHECKSUMS_FILE).exists()
    with told_with(source, _damage(path, contents) if stored else None):
        document, _ = parse_document(contents[CIRCUIT_FILE], str(path / CIRCUIT_FILE))
        if "checksums" in document and not stored:
            raise ArtifactError(f"{path} is no complete circuit folder: its {CHECKSUMS_FILE} is missing")
        graph, listed = read_edges(document, source)
        tensors = _tensors(contents.pop(MASKS_FILE), path / MASKS_FILE)
        _check_same_edges(listed, tensors, graph, source)
        scores = _scores(tensors, graph, listed, source)
        masks = _weight_masks(document, tensors, source)
        notes = () if stored else (UNSEALED.format(source),)
        return make_circuit(document, graph, listed, scores, masks, source, notes)


# --- writing ---------------------------------------------------------------------------------------------


def check_replaceable(target: Path) -> None:
    """ArtifactError unless `save_circuit` may write there: nothing yet, an empty folder, or another circuit."""
    try:
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise ArtifactError(f"{target} is in the way and is not a circuit folder; choose another name")
        present = {entry.name for entry in target.iterdir()} if target.exists() else set()
    except OSError as error:
        raise ArtifactError(f"cannot look into {str(target)[:200]}: {error.strerror or error}") from error
    foreign = sorted(present - set(FILES))
    if foreign:
        raise ArtifactError(
            f"{target} holds other things than a circuit ({', '.join(foreign[:3])}); it is left as it is. "
            f"Choose a folder of its own"
        )
    if present:
        # Raises unless it is a circuit's.
        parse_document(read_file(target / CIRCUIT_FILE), str(target / CIRCUIT_FILE))


def _checksums(contents: Mapping[str, bytes]) -> str:
    """As `sha256sum` writes them."""
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items())


# --- reading ---------------------------------------------------------------------------------------------


def _damage(path: Path, contents: Mapping[str, bytes]) -> str | None:
    """What the checksums tell of these contents; None if they are of just these."""
    stored = read_file(path / CHECKSUMS_FILE, 10_000).splitlines(keepends=True)
    counted = _checksums(contents).encode("ascii").splitlines(keepends=True)
    if sorted(stored) == sorted(counted):
        return None
    wrong = [name for name, line in zip(contents, counted, strict=True) if line not in stored] or [CHECKSUMS_FILE]
    return (
        f"it is damaged, or was changed by hand: {' and '.join(wrong)} and {CHECKSUMS_FILE} do not agree. Take a whole "
        f"copy; who changed it on purpose runs sha256sum {CIRCUIT_FILE} {MASKS_FILE} > {CHECKSUMS_FILE} there"
    )


def _tensors(content: bytes, path: Path) -> dict[str, NDArray[Any]]:
    try:
        return load(content)
    except (KeyError, AttributeError) as error:  # a type that NumPy has not
        raise ArtifactError(f"{path} holds a tensor of a type that no mask and no score has ({error})") from error
    except (SafetensorError, ValueError, OverflowError, MemoryError) as error:
        reason = str(error).partition("\n")[0][:200]  # which may quote the file
        raise ArtifactError(f"{path} cannot be read as safetensors (cut short or damaged?): {reason}") from error


def _check_same_edges(
    listed: Mapping[int, Any], tensors: dict[str, NDArray[Any]], graph: ComputationGraph, source: str
) -> None:
    if "edge_mask" not in tensors:
        raise ArtifactError(f'{source}: {MASKS_FILE} has no "edge_mask"')
    stored = _unpack(tensors["edge_mask"], (graph.n_edges,), "edge_mask", source)
    if np.flatnonzero(stored).tolist() != sorted(listed):
        raise ArtifactError(f"{source}: {CIRCUIT_FILE} and {MASKS_FILE} keep different edges")


def _scores(
    tensors: dict[str, NDArray[Any]], graph: ComputationGraph, listed: Mapping[int, float | None], source: str
) -> NDArray[np.float32] | None:
    scores = tensors.get("edge_scores")
    given = {index: score for index, score in listed.items() if score is not None}
    if len(given) != (0 if scores is None else len(listed)):
        raise ArtifactError(f"{source}: {CIRCUIT_FILE} gives {len(given)} of {len(listed)} edges a score; all or none")
    if scores is None:
        return None
    if scores.shape != (graph.n_edges,) or scores.dtype != np.float32:
        raise ArtifactError(
            f"{source}: edge_scores are {scores.dtype} {scores.shape}; this graph needs float32 ({graph.n_edges},)"
        )
    check_scores(scores, graph, given, source)
    return scores


def _weight_masks(
    document: Document, tensors: dict[str, NDArray[Any]], source: str
) -> dict[str, NDArray[np.bool_]] | None:
    stored = {name.removeprefix(_WEIGHTS) for name in tensors if name.startswith(_WEIGHTS)}
    summary = document.get("weights")
    if summary is None and not stored:
        return None
    shapes = {} if summary is None else summary["masks"]
    if set(shapes) != stored:
        raise ArtifactError(
            f"{source}: {CIRCUIT_FILE} and {MASKS_FILE} name different weights: "
            f"{', '.join(sorted(set(shapes) ^ stored)[:3])[:200]}"
        )
    masks = {}
    for name, entry in shapes.items():
        masks[name] = _unpack(tensors.pop(_WEIGHTS + name), tuple(entry["shape"]), name, source)
        kept, said = int(masks[name].sum()), entry.get("kept")
        if said is not None and said != kept:
            raise ArtifactError(f"{source} contradicts itself: {name} keeps {said:,} weights, counted {kept:,}")
    return masks


def _unpack(bits: NDArray[Any], shape: tuple[int, ...], name: str, source: str) -> NDArray[np.bool_]:
    size = math.prod(shape)
    if bits.dtype != np.uint8 or bits.shape != ((size + 7) // 8,):
        raise ArtifactError(
            f"{source}: {name[:80]} is stored as {bits.dtype} {bits.shape}; "
            f"its shape {str(shape)[:60]} needs {str((size + 7) // 8)[:20]} bytes of packed bits"
        )
    try:
        return np.unpackbits(bits, count=size).astype(bool).reshape(shape)
    except ValueError as error:  # more axes, or larger ones, than numpy has
        raise ArtifactError(f"{source}: the shape {str(shape)[:60]} of {name} is none: {error}") from error
