"""What is read, and all that is done with it where it is shown: a circuit, a run, a checkpoint.

Only names that older releases have too, so that the same cases can be tried on them.
"""

from __future__ import annotations

import json
import pickle
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.discover import charts, run_panel
from app.explore.results import saved_rows
from app.tables import metrics_table
from discogp.circuits.artifact import load_circuit
from discogp.circuits.circuit import Circuit
from discogp.circuits.describe import describe, metrics_of, summary
from discogp.circuits.document import circuit_to_json
from discogp.circuits.sparsity import sparsity
from discogp.drawing.view import build_view
from discogp.errors import DiscoGPError
from discogp.export import render
from discogp.runs import Run, RunSettings, RunStore, launch
from tests.fuzz.mutate import mutated
from tests.places import ROOT

try:
    from discogp.circuits.foreign import mib
except ImportError:  # an older release
    mib = None

EXAMPLES = ROOT / "assets" / "examples"


@dataclass(frozen=True)
class Target:
    """`spoil` writes a file with a fault and says where in words; `read` reads it and does all that is done with it."""

    name: str
    spoil: Callable[[random.Random], str]
    read: Callable[[], object]


def targets(place: Path) -> Iterator[Target]:
    """Every kind of file, each with a folder of its own below `place`."""
    for example in ("mini-ioi-both", "mini-ioi-edges"):
        yield _json_of_folder(place / f"json {example}", example)
    yield _header_of_masks(place / "header", "mini-ioi-both")
    yield _single_file(place / "single", "mini-ioi-edges")
    if mib is not None:
        yield _foreign_file(place / "foreign", "mini-ioi-edges")
    yield from _files_of_runs(place / "runs")
    yield _checkpoint(place / "checkpoint")


# --- circuits --------------------------------------------------------------------------------------------


def _older(folder: Path, example: str) -> dict[str, Any]:
    """A copy without checksums, so that faults come through to whatever reads on."""
    shutil.copytree(EXAMPLES / example, folder)
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    document = json.loads((folder / "circuit.json").read_text())
    document.pop("checksums", None)
    (folder / "circuit.json").write_text(json.dumps(document))
    return document


def show(circuit: Circuit) -> None:
    """What the Explore page, the exports and the command line do with a circuit before its model is there."""
    describe(circuit), summary(circuit, 5), metrics_of(circuit)
    build_view(circuit, max_edges=300)
    metrics_table(saved_rows(circuit, 0))
    if circuit.weight_masks is not None:
        try:
            sparsity(circuit)
        except DiscoGPError:  # masks of weights that there are not
            return
    for format in ("json", "graphml", "svg"):
        render(circuit, format, max_edges=50)


def _json_of_folder(folder: Path, example: str) -> Target:
    document = _older(folder, example)

    def spoil(chance: random.Random) -> str:
        text = mutated(document, chance)
        (folder / "circuit.json").write_text(text)
        return text

    return Target(f"circuit.json of {example}", spoil, lambda: show(load_circuit(folder)))


def _header_of_masks(folder: Path, example: str) -> Target:
    _older(folder, example)
    content = (folder / "masks.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header, rest = json.loads(content[8 : 8 + size]), content[8 + size :]
    types = ("F8_E4M3", "F8_E5M2", "BF16", "F64", "I8", "BOOL", "U16", "C64", "F4", "", "x")

    def spoil(chance: random.Random) -> str:
        if chance.random() < 0.3:
            changed = json.loads(json.dumps(header))
            changed[chance.choice(list(changed))]["dtype"] = chance.choice(types)
            text = json.dumps(changed)
        else:
            text = mutated(header, chance)
        encoded = text.encode()
        length = len(encoded) if chance.random() < 0.9 else chance.choice((0, 2**63, 2**64 - 1, len(encoded) + 9))
        (folder / "masks.safetensors").write_bytes(struct.pack("<Q", length) + encoded + rest)
        return text

    return Target("header of masks.safetensors", spoil, lambda: show(load_circuit(folder)))


def _single_file(folder: Path, example: str) -> Target:
    folder.mkdir()
    document = json.loads(circuit_to_json(load_circuit(EXAMPLES / example)))
    document.pop("sha256", None)

    def spoil(chance: random.Random) -> str:
        text = mutated(document, chance)
        (folder / "circuit.json").write_text(text)
        return text

    return Target("single JSON", spoil, lambda: show(load_circuit(folder / "circuit.json")))


def _foreign_file(folder: Path, example: str) -> Target:
    """MIB's JSON; it has no checksum to take out."""
    folder.mkdir()
    assert mib is not None
    document = json.loads(mib.mib_document(load_circuit(EXAMPLES / example), 64, {}))
    document["edges"] = dict(list(document["edges"].items())[:40])

    def spoil(chance: random.Random) -> str:
        text = mutated(document, chance)
        (folder / "circuit.json").write_text(text)
        return text

    return Target("MIB JSON", spoil, lambda: show(load_circuit(folder / "circuit.json")))


# --- runs ------------------------------------------------------------------------------------------------

_STEP = {
    "phase": "edges", "step": 5, "total_steps": 100, "elapsed": 2.0, "eta": 38.0, "losses": {"sparsity": 0.5},
    "densities": {"edges": 0.4, "weights": 1.0}, "best_step": 5,
    "validation": {"accuracy": 0.9, "complement_accuracy": 0.5, "kl": 1.25, "top1": 0.5},
}  # fmt: skip
_PROMPTS = {
    "phase": "prepare", "message": "The full model answers 90 % rightly", "elapsed": 1.0, "notes": ["one"],
    "data": {"train": 256, "validation": 128, "test": 256, "full_accuracy": 0.9, "kept_share": 0.9},
}  # fmt: skip
_SAVED = {
    "phase": "evaluate", "message": "Saved", "elapsed": 3.0,
    "test": {"accuracy": 0.9, "complement_accuracy": 0.5, "kl": 1.25, "top1": 0.5},
}  # fmt: skip


def a_run(store: RunStore, state: str = "done") -> Run:
    """One that has got so far, its files without seals."""
    config = {"mask": "both", "seed": 0, "batch_size": 32, "edges": {"steps": 100, "learning_rate": 0.1}}
    run = store.create(RunSettings("mini", "ioi", config, {"data": "x"}, {"train": 256}))
    for event in (_PROMPTS, _STEP, _SAVED):
        store.append_event(run.id, event)
    store.write_process(run.id, 4_000_000, "12")  # nobody's
    if state == "done":
        store.finish(run.id, "done", None)
    for name in ("run.json", "process.json"):
        file = store.folder(run.id) / name
        content = json.loads(file.read_text())
        content.pop("sha256", None)
        file.write_text(json.dumps(content))
    return run


def show_runs(store: RunStore) -> None:
    """What the pages do with runs, but for putting it on the screen."""
    for run in launch.current(store):
        if isinstance(run, Run):
            run_panel.title(run), run_panel.subtitle(store, run), run_panel.BADGES[run.state]
            events = store.events(run.id)
            run_panel._bar(run, events)
            run_panel._figures(events)
            charts.curves(events).to_json(), charts.losses(events).to_json()
            store.can_continue(run)


def _files_of_runs(place: Path) -> Iterator[Target]:
    for name in ("run.json", "process.json", "progress.jsonl"):
        store = RunStore(place / name)
        run = a_run(store, "running" if name == "process.json" else "done")
        file = store.folder(run.id) / name
        rows = [json.loads(line) for line in file.read_text().splitlines()] if name.endswith("l") else None
        whole = json.loads((store.folder(run.id) / "run.json").read_text())
        yield _file_of_run(store, file, rows, json.loads(file.read_text()) if rows is None else None, whole)


def _file_of_run(store: RunStore, file: Path, rows: list[Any] | None, document: Any, whole: Any) -> Target:
    for row in rows or ():
        row.pop("sha256", None)

    def spoil(chance: random.Random) -> str:
        (file.parent / "run.json").write_text(json.dumps(whole))  # a look may have ended the run
        if rows is None:
            text = mutated(document, chance)
        else:
            lines = [json.dumps(row) for row in rows]
            broken = chance.randrange(len(rows))
            lines[broken] = mutated(rows[broken], chance)
            text = "".join(f"{line}\n" for line in lines)
        file.write_text(text)
        return text

    return Target(file.name, spoil, lambda: show_runs(store))


# --- checkpoints -----------------------------------------------------------------------------------------


def _checkpoint(folder: Path) -> Target:
    """The structure of one, as anything that torch writes may be in the file."""
    import torch

    from discogp.search.checkpoint import CheckpointFile

    folder.mkdir()
    file = CheckpointFile(folder / "checkpoint", {"setting seed": 0, "model": "mini"})
    file.save({"done": 5, "logits": torch.ones(2, 3), "history": [{"kl": 0.5}], "order": (1, 2)})
    whole = torch.load(file.path, weights_only=True)

    def spoil(chance: random.Random) -> str:
        changed = {name: value for name, value in whole.items() if name != "state"}
        try:
            changed = json.loads(mutated(changed, chance))
            pickle.dumps(changed)
        except (ValueError, RecursionError):  # no JSON, or deeper than can be written
            changed = None
        if isinstance(changed, dict):
            changed["state"] = whole["state"] if chance.random() < 0.5 else chance.choice(([], None, 5, {"done": {}}))
        torch.save(changed, file.path)
        return repr(changed)[:10_000]

    return Target("checkpoint", spoil, file.load)
