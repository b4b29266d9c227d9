"""The circuits that can be opened: shipped examples and finished runs. No Streamlit, no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from app.text import sendable
from discogp import paths
from discogp.circuits.artifact import FILES
from discogp.circuits.document import parse_document, read_file
from discogp.errors import ArtifactError
from discogp.runs import Run, RunStore

FIRST = "mini-ioi-edges"  # what the start page shows, when it is there


@dataclass(frozen=True)
class Entry:
    """A saved circuit. `id` is what a link carries: `example:<folder>` or `run:<id>`."""

    id: str
    title: str
    folder: Path


def entries(store: RunStore) -> tuple[Entry, ...]:
    """Examples first, then finished runs, newest first."""
    return (
        *examples(),
        *(run_entry(store, run) for run in store.list() if isinstance(run, Run) and _opens(store, run)),
    )


def examples() -> tuple[Entry, ...]:
    root = paths.assets() / "examples"
    folders = sorted(path.parent for path in root.glob("*/circuit.json"))
    found = [Entry(f"example:{folder.name}", sendable(f"Example · {_title(folder)}"), folder) for folder in folders]
    return tuple(sorted(found, key=lambda entry: entry.id != f"example:{FIRST}"))


def run_entry(store: RunStore, run: Run) -> Entry:
    what = {"both": "weights then edges"}.get(mask := str(run.settings.config.get("mask", "")), mask)
    when = run.created[:16].replace("T", " ")
    title = f"Run · {Path(run.settings.model).name} · {run.settings.task} · {what} · {when}"
    return Entry(f"run:{run.id}", sendable(title), store.circuit_folder(run.id))


def _opens(store: RunStore, run: Run) -> bool:
    return run.state == "done" and os.path.isfile(store.circuit_folder(run.id) / "circuit.json")


def state_of(folder: Path) -> tuple[tuple[int, int], ...]:
    """What changes whenever a circuit's files do."""
    found = []
    for name in FILES:
        try:
            status = os.stat(folder / name)
            found.append((status.st_mtime_ns, status.st_size))
        except OSError:
            found.append((0, 0))
    return tuple(found)


def _title(folder: Path) -> str:
    """From the file's own provenance; the folder's name where that cannot be read (opening it tells why)."""
    return _read_title(folder, state_of(folder))


@lru_cache(maxsize=256)
def _read_title(folder: Path, _state: tuple[tuple[int, int], ...]) -> str:
    file = folder / "circuit.json"
    try:
        document, _ = parse_document(read_file(file), str(file))
    except ArtifactError:
        return folder.name
    made = document["provenance"]
    what = {"both": "weights then edges"}.get(document["searched"], document["searched"])
    return f"{Path(str(made.get('model'))).name} · {made.get('task')} · {what}" if made.get("model") else folder.name
