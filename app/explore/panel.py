"""The parts of the Explore page that run again by themselves: graph, figures, changed prompts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from typing import TYPE_CHECKING

import streamlit as st

from app import libraries, session
from app.catalogue import Entry
from app.explore.circuit_graph import circuit_graph
from app.explore.edges_panel import edges_panel
from app.explore.permalink import encode
from app.explore.results import changed_prompts, rows, saved_rows
from app.explore.toggles import History, Toggles
from app.explore.token_panel import token_panel
from app.explore.workbench import Workbench
from app.tables import chips, metrics_table, prompts_table
from app.text import error_text, plain, sendable
from discogp.circuits.circuit import Circuit
from discogp.drawing.view import GraphView
from discogp.errors import DiscoGPError

if TYPE_CHECKING:
    from discogp.evaluation.outcome import Outcome

MOST_EDGES = 2_000  # sent to the browser; the graph's own slider says how many of them are drawn
HEIGHT = 640

_log = logging.getLogger(__name__)


def pick(entries: Sequence[Entry]) -> Entry | None:
    """The circuit selector. The choice outlives a visit to another page."""
    if not entries:
        return None
    by_id = {entry.id: entry for entry in entries}
    chosen = session.state().get(session.PICKED)
    ids = list(by_id)
    picked = st.selectbox(
        "Circuit",
        ids,
        index=ids.index(chosen) if chosen in by_id else 0,
        format_func=lambda entry_id: by_id[entry_id].title if entry_id in by_id else entry_id,
        help="The shipped examples, your finished runs, and the files that you opened.",
    )
    session.state()[session.PICKED] = picked
    return by_id[picked]


@st.fragment
def panel(
    entry: Entry, circuit: Circuit, view: GraphView, history: History, workbench: Future[Workbench] | None
) -> None:
    """A click runs only this. What the click changed is never sent back to the graph: see `History`."""
    left, right = st.columns([11, 8], gap="medium")
    with left:
        report = circuit_graph(
            view,
            off_edges=history.sent.edges,
            off_nodes=history.sent.nodes,
            rev=history.revision,
            key=f"{session.GRAPH} {entry.id}",
            height=HEIGHT,
        )
    history.clicked(report.seq, Toggles.of(report.edges, report.nodes))
    address = "" if entry.id in session.uploads() else entry.id  # a file is here for this visit only
    session.write_link(circuit=address, off=encode(history.current, circuit.graph))
    with right:
        _buttons(history)
        result = _figures(entry, circuit, history, workbench)
    if result is None:
        return
    ready, outcome = result
    if outcome is not None:
        _changed(ready, outcome)
    edges_panel(ready, history, entry.id)
    token_panel(ready, history.current)


def _buttons(history: History) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Undo", icon=":material/undo:", on_click=history.undo, disabled=not history.past)
        st.button("Redo", icon=":material/redo:", on_click=history.redo, disabled=not history.future)
        st.button(
            "Reset",
            icon=":material/restart_alt:",
            on_click=history.set,
            args=(Toggles(),),
            disabled=not history.current,
            help="Switch everything on again",
        )


def _figures(
    entry: Entry, circuit: Circuit, history: History, workbench: Future[Workbench] | None
) -> tuple[Workbench, Outcome | None] | None:
    """The metrics table, whatever is known; once the model is there, returns it and what it did without what is off."""
    off = history.current
    names = sorted(off.nodes) + sorted(off.edges)
    revision = f"{history.revision}:{report_number(history)}:{len(names)}"
    if workbench is None:
        _ask(entry, circuit, len(names))
        return None
    if not workbench.done():
        st.html(metrics_table(saved_rows(circuit, len(names)), "saved"))
        st.caption(":material/hourglass_top: Loading the model. The figures above are those saved with the circuit.")
        return None
    try:
        ready = workbench.result()
        with st.spinner("The model is running") if off and ready.slow else nullcontext():
            outcome = ready.without(off.names) if off else None
    except Exception as error:
        _failed(entry, circuit, error, len(names))
        return None
    st.html(metrics_table(rows(circuit, ready, outcome, len(names)), revision))
    st.caption(plain(ready.note))
    if outcome is None:
        st.caption("Click an edge or a node of the graph: it is switched off and the model runs again without it.")
        return ready, None
    st.html(f"<b>Switched off</b> {len(names)}" + chips(names))
    return ready, outcome


def _changed(workbench: Workbench, outcome: Outcome) -> None:
    changed = changed_prompts(workbench, outcome)
    st.html(f"<b>Prompts whose prediction changed</b> · {len(changed)} of {len(workbench.prompts)}")
    if changed:
        st.html(prompts_table(changed))


def report_number(history: History) -> int:
    """How many reports of the graph the figures reflect."""
    return history.seen[0] if history.seen else 0


def _ask(entry: Entry, circuit: Circuit, n_off: int) -> None:
    """A file from elsewhere must not make this machine read a folder, fetch a model or compute for hours unasked."""
    st.html(metrics_table(saved_rows(circuit, n_off), "saved"))
    st.info("The figures above are those saved with the file. To run it, its model has to be loaded:")
    sizes = circuit.provenance.get("split_sizes") or {}
    asked = f", on {sum(sizes.values()):,} prompts" if sizes else ""
    st.text(sendable(f"{circuit.provenance.get('model')}{asked}"))
    if st.button("Load this model", icon=":material/download:"):
        session.allow(entry.id)
        st.rerun()


def _failed(entry: Entry, circuit: Circuit, error: Exception, n_off: int) -> None:
    if not isinstance(error, DiscoGPError):
        _log.error("running %s failed", entry.id, exc_info=error)
    st.html(metrics_table(saved_rows(circuit, n_off), "saved"))
    st.warning(f"The figures above are those saved with the circuit; its model cannot be run here. {error_text(error)}")
    if st.button("Try again", icon=":material/refresh:"):
        session.loader().forget(entry.id)
        st.rerun()


@st.fragment(run_every=0.4)
def wait_for(workbench: Future[Workbench], keep: Callable[[], None]) -> None:
    """Run the page again once the model is there; `keep` sees to it that what this run told is told again."""
    if workbench.done():
        keep()
        st.rerun()
    libraries.spare()
