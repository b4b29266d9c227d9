"""The circuits that can be opened: shipped examples and finished runs. No Streamlit, no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discogp import paths
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
    found = [Entry(f"example:{folder.name}", f"Example · {_title(folder)}", folder) for folder in folders]
    return tuple(sorted(found, key=lambda entry: entry.id != f"example:{FIRST}"))


def run_entry(store: RunStore, run: Run) -> Entry:
    what = {"both": "weights then edges"}.get(mask := str(run.settings.config.get("mask", "")), mask)
    when = run.created[:16].replace("T", " ")
    title = f"Run · {Path(run.settings.model).name} · {run.settings.task} · {what} · {when}"
    return Entry(f"run:{run.id}", title, store.circuit_folder(run.id))


def _opens(store: RunStore, run: Run) -> bool:
    return run.state == "done" and (store.circuit_folder(run.id) / "circuit.json").is_file()


def _title(folder: Path) -> str:
    """From the file's own provenance; the folder's name where that cannot be read (opening it tells why)."""
    try:
        data = json.loads((folder / "circuit.json").read_text(encoding="utf-8"))
        made: Mapping[str, Any] = data["provenance"]
        what = {"both": "weights then edges"}.get(data["searched"], data["searched"])
        return f"{Path(str(made['model'])).name} · {made['task']} · {what}"
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError):
        return folder.name
