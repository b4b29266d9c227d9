"""The only owner of session-state keys and of what is cached between visitors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import streamlit as st

from app import libraries
from app.catalogue import Entry, entries, state_of
from app.explore.toggles import History
from app.loader import Loader
from app.text import sendable
from discogp import paths
from discogp.circuits.circuit import Circuit
from discogp.runs import RunStore

EXPLORE, DISCOVER, RUNS, TASKS, MODELS, GUIDE = (
    f"views/{name}.py" for name in ("explore", "discover", "runs", "tasks", "models", "guide")
)

GRAPH = "graph"  # key of the graph component
PANEL = "explore_panel"  # key of the fragment around the graph
PICKED = "picked_circuit"  # key of the circuit selector
WISH = "circuit_to_import"  # the file of another program that is being scored
WATCHED = "watched_run"  # id of the run that Discover shows
_HISTORIES = "histories"
_UPLOADS = "uploads"
_UPLOAD_KEYS = "upload_keys"
_ALLOWED = "models_asked_for"
_PAGE = "page"
_LINK_READ = "link_read"
_NOTICE = "notice"
_MOST_PROMPTS_UNASKED = 2_000  # of all splits; a search asks for 640 by default
_TOLD = "told"
_VISITOR = "visitor"


def state() -> MutableMapping[str, Any]:
    return cast("MutableMapping[str, Any]", st.session_state)


def store() -> RunStore:
    return RunStore()


@st.cache_resource(show_spinner=False)
def loader() -> Loader:
    """One for all visitors. The first of them also begins the loading of what every model needs."""
    libraries.begin()
    return Loader()


@st.cache_resource(max_entries=16, show_spinner=False)
def _circuit(folder: str, state: tuple[tuple[int, int], ...]) -> Circuit:
    from discogp.circuits.artifact import load_circuit

    return load_circuit(folder)


def open_circuit(entry: Entry) -> Circuit:
    """ArtifactError for a broken folder. Read anew when its files have changed."""
    if (uploaded := uploads().get(entry.id)) is not None:
        return uploaded
    return _circuit(str(entry.folder), state_of(entry.folder))


def uploads() -> dict[str, Circuit]:
    """Circuits that this visitor brought along, by entry id."""
    return state().setdefault(_UPLOADS, {})


def upload_key(upload: str, name: str, content: bytes) -> str:
    """The entry id of a file, which its name and content give; made once an upload, since a large file takes time."""
    keys = state().setdefault(_UPLOAD_KEYS, {})
    if upload not in keys:
        keys[upload] = _file_key(name, content)
    return keys[upload]


def _file_key(name: str, content: bytes) -> str:
    return f"file:{name} ({hashlib.sha256(content).hexdigest()[:6]})"


def bring(key: str, circuit: Circuit) -> None:
    """Open a circuit for this visit."""
    uploads()[key] = circuit
    state()[PICKED] = key


def bring_made(name: str, content: bytes) -> None:
    """The same of one that was made here, as the bytes of its JSON."""
    from discogp.circuits.document import circuit_from_json

    key = _file_key(sendable(name), content)
    bring(key, circuit_from_json(content))
    allow(key)


def source(entry: Entry) -> str:
    """Where the circuit is, as a command line run from the checkout would say it; the name of a file brought along."""
    if entry.id in uploads():
        return entry.id.partition(":")[2].rpartition(" (")[0]
    for root, name in ((paths.REPOSITORY, ""), (Path.home(), "~/")):
        if entry.folder.is_relative_to(root):
            return f"{name}{entry.folder.relative_to(root)}"
    return str(entry.folder)


def choices() -> tuple[Entry, ...]:
    """Whatever can be opened: what this visitor brought, the examples, the finished runs."""
    brought = tuple(Entry(key, f"File · {key.partition(':')[2]}", Path()) for key in reversed(uploads()))
    return (*brought, *entries(store()))


def may_run(entry_id: str, circuit: Circuit) -> bool:
    """Whether the circuit may be run unasked: always, but for a file that names an unknown model or many prompts."""
    if entry_id not in uploads() or entry_id in state().get(_ALLOWED, ()):
        return True
    from discogp.models.registry import find

    made = circuit.provenance
    name = made.get("model")
    known = find(name) if isinstance(name, str) else None
    few = sum((made.get("split_sizes") or {}).values()) <= _MOST_PROMPTS_UNASKED
    return name is None or (known is not None and known.available() and few and not made.get("task_options"))


def allow(entry_id: str) -> None:
    """The visitor asked for this circuit's model."""
    state().setdefault(_ALLOWED, set()).add(entry_id)


def visitor() -> str:
    """A name for this visit, of no meaning elsewhere."""
    return state().setdefault(_VISITOR, uuid4().hex)


def history(circuit_id: str) -> History:
    return state().setdefault(_HISTORIES, {}).setdefault(circuit_id, History())


def entered(page: str) -> bool:
    """Whether this run of the script opens the page, rather than running it again. Ask once a run."""
    new = state().get(_PAGE) != page
    state()[_PAGE] = page
    return new


def link_once() -> dict[str, str]:
    """What the address of the page said when this visit began; empty afterwards.

    Later the page writes the address. Reading it again then would take an address that the browser has not
    yet updated for a wish of the visitor's, and lose a click.
    """
    if state().get(_LINK_READ):
        return {}
    state()[_LINK_READ] = True
    return {key: st.query_params[key] for key in ("circuit", "off") if key in st.query_params}


def write_link(**values: str) -> None:
    """Put these into the address, without those that are empty; touches nothing that is right already."""
    for key, value in values.items():
        if value and st.query_params.get(key) != value:
            st.query_params[key] = value
        elif not value and key in st.query_params:
            del st.query_params[key]


def go_explore(entry_id: str) -> None:
    """Open a circuit on the Explore page."""
    state()[PICKED] = entry_id
    st.switch_page(EXPLORE)


def go_discover(model: str, options: Mapping[str, Any]) -> None:
    """Open Discover with a task file of the visitor's filled in, to be read as these options say."""
    state().update(
        search_model=model,
        search_task="custom",
        search_file=options["file"],
        search_exact=bool(options.get("exact")),
        search_bos=options.get("bos", "auto"),
    )
    st.switch_page(DISCOVER)


def leave_notice(text: str) -> None:
    state()[_NOTICE] = text


def take_notice() -> str | None:
    """A message left for the next run of the script, once."""
    return state().pop(_NOTICE, None)


def tell_again(warnings: list[str]) -> None:
    """Warnings that a run of the script which nobody asked for must not take away."""
    state()[_TOLD] = warnings


def take_told() -> list[str]:
    return state().pop(_TOLD, [])
