"""The parts of the Explore page that run again by themselves: graph, figures, changed prompts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

import streamlit as st

from app import libraries, session
from app.catalogue import Entry
from app.explore.circuit_graph import circuit_graph
from app.explore.edges_panel import edges_panel
from app.explore.export_menu import figures_of
from app.explore.permalink import encode
from app.explore.prompt_strip import strip
from app.explore.results import changed_prompts, rows, saved_rows
from app.explore.ticker import look_again
from app.explore.toggles import History, Toggles
from app.explore.token_panel import token_panel
from app.explore.widths import EFFECT, SCORE, is_quick
from app.explore.workbench import Workbench
from app.tables import chips, metrics_table, prompts_table
from app.text import error_text, plain, sendable
from discogp.circuits.circuit import Circuit
from discogp.circuits.describe import describe
from discogp.drawing.view import GraphView
from discogp.errors import DiscoGPError

if TYPE_CHECKING:
    from app.explore.refining import Refinement

MOST_EDGES = 10_000  # sent to the browser; the graph's own slider says how many of them are drawn
HEIGHT = 640
_FIRST_FIGURES = 1.0  # seconds that a click waits for its first figures before the page says that there are none yet
_SETTLING = 0.12  # and then, if those came as quickly, for the rest: of a quick model all figures are there at once
_LOOK_AGAIN = 0.25

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
        label_visibility="collapsed",
    )
    session.state()[session.PICKED] = picked
    return by_id[picked]


@st.fragment(key=session.PANEL)
def panel(
    entry: Entry, circuit: Circuit, view: GraphView, history: History, workbench: Future[Workbench] | None
) -> None:
    """A click runs only this. What the click changed is never sent back to the graph: see `History`."""
    ready = _ready(workbench)
    first_look = st.container()
    left, right = st.columns([11, 8], gap="medium")
    with right:
        with st.container(horizontal=True, vertical_alignment="center"):
            buttons = st.container(width="content")
            by_effect = _widths(entry, circuit) == EFFECT
        with st.container():  # there without words too: the figures' part finds its own place again by its number
            drawing = _by_effect(entry, circuit, view, ready) if by_effect and ready is not None else view
    history.by_effect = drawing is not view
    with left:
        report = circuit_graph(
            drawing,
            off_edges=history.sent.edges,
            off_nodes=history.sent.nodes,
            rev=history.revision,
            key=f"{session.GRAPH} {entry.id}",
            height=HEIGHT,
        )
    history.clicked(report.seq, Toggles.of(report.edges, report.nodes))
    with buttons, st.container(horizontal=True, vertical_alignment="center"):
        _buttons(history)
    address = "" if entry.id in session.uploads() else entry.id  # a file is here for this visit only
    session.write_link(circuit=address, off=encode(history.current, circuit.graph))
    changed, edges, tokens = st.container(), st.container(), st.container()
    if ready is None:
        with right:
            _saved(entry, circuit, history, workbench)
        return
    with first_look:
        strip(entry.id, ready, history.current)
    with tokens:
        token_panel(ready, history.current)
    with right:
        _figures(entry, circuit, history, ready)
    with changed:
        _changed(entry.id, history, ready)
    with edges:
        edges_panel(ready, history, entry.id)


def _ready(workbench: Future[Workbench] | None) -> Workbench | None:
    """The workbench, if it is there and works."""
    if workbench is None or not workbench.done() or _failure(workbench) is not None:
        return None
    return workbench.result()


def _failure(workbench: Future[Workbench]) -> Exception | None:
    """Why a workbench that is done cannot be used; given up for others' sake counts too."""
    try:
        workbench.result()
    except Exception as error:
        return error
    return None


def _buttons(history: History) -> None:
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


def _widths(entry: Entry, circuit: Circuit) -> str:
    """What this visitor wants the widths to show."""
    return st.segmented_control(
        "Width of edges",
        [EFFECT, SCORE],
        default=EFFECT if is_quick(circuit) else SCORE,
        required=True,
        label_visibility="collapsed",
        key=f"widths {entry.id}",
        help="What the width of an edge shows: how the logit difference changes without it, or the search's score.",
    )


def _by_effect(entry: Entry, circuit: Circuit, view: GraphView, ready: Workbench) -> GraphView:
    """The drawing by effect, once that is known; until then as it is, with a word about it."""
    survey = ready.survey
    survey.estimate()
    if survey.estimating:
        st.caption(":material/hourglass_top: Estimating what each edge does; until then, widths show scores.")
        # Every look runs this whole part, much of a large circuit.
        look_again(_LOOK_AGAIN if is_quick(circuit) else 4 * _LOOK_AGAIN, f"estimate {entry.id}")
        return view
    if (error := survey.estimate_error) is not None:
        st.warning(f"What the edges do could not be estimated, so widths show scores. {error_text(error)}")
        return view
    return ready.drawing(circuit, MOST_EDGES)


def _saved(entry: Entry, circuit: Circuit, history: History, workbench: Future[Workbench] | None) -> None:
    """The figures of the file, where there is no model to run."""
    n_off = len(history.current.names)
    if workbench is None:
        _ask(entry, circuit, n_off)
    elif workbench.done() and (error := _failure(workbench)) is not None:
        _failed(entry, circuit, error, n_off)
    else:
        st.html(metrics_table(saved_rows(circuit, n_off), "saved"))
        st.caption(":material/hourglass_top: Loading the model. The figures above are those saved with the circuit.")


@st.fragment
def _figures(entry: Entry, circuit: Circuit, history: History, ready: Workbench) -> None:
    """The metrics table and what is off; runs again by itself until the figures are those of all prompts."""
    off = history.current
    names = sorted(off.nodes) + sorted(off.edges)
    try:
        wanted = _wanted(ready, off)
        if wanted is not None:
            began = time.monotonic()
            wanted.wait(_FIRST_FIGURES)
            if time.monotonic() - began < _SETTLING:
                wanted.wait(_SETTLING, settled=True)
            if wanted.error is not None:
                raise wanted.error
    except Exception as error:
        _failed(entry, circuit, error, len(names))
        return
    waiting = wanted is not None and not wanted.settled
    outcome = wanted.outcome if wanted is not None else None
    # Before the first figures the table has no revision: nothing in it is of this click.
    revision = f"{history.revision}:{report_number(history)}:{len(names)}" if outcome is not None or not off else ""
    st.html(metrics_table(rows(circuit, ready, outcome, len(names)), revision, settled=not waiting))
    st.caption(plain(ready.note), help=plain(ready.held_out) or None)
    if wanted is None:
        st.caption("Click an edge or a node of the graph: it is switched off and the model runs again without it.")
        return
    st.html(f"<b>Switched off</b> {len(names)}" + chips(names))
    if waiting:
        look_again(_LOOK_AGAIN, f"figures {entry.id}")
    elif st.button(
        "Keep what is left as a circuit",
        icon=":material/content_cut:",
        help="Opens the circuit without what is off, with its own figures, beside this one. Export saves it.",
    ):
        _keep(entry, circuit, off, ready)


def _keep(entry: Entry, circuit: Circuit, off: Toggles, ready: Workbench) -> None:
    """What is left becomes a circuit of this visit's, just as if it had been exported and opened."""
    from discogp.export import render

    content = render(
        circuit, "json", off=off.names, measured=figures_of(ready, off.names), source=session.source(entry)
    )
    session.bring_made(f"{describe(circuit)} without {len(off.names)}", content)
    st.rerun()


def _wanted(ready: Workbench, off: Toggles) -> Refinement | None:
    """What this visitor now waits for, and nothing else; None where nothing is off."""
    if off:
        return ready.refiner.ask(session.visitor(), off.names)
    ready.refiner.give_up(session.visitor())
    return None


@st.fragment
def _changed(key: str, history: History, ready: Workbench) -> None:
    """The prompts that fare otherwise, those among the first ones first."""
    try:
        wanted = _wanted(ready, history.current)
    except DiscoGPError:  # told beside the graph
        return
    if wanted is None or wanted.error is not None:
        return
    if not wanted.settled:  # asked before the figures are looked at: what comes in between is for the next look
        look_again(1.6 * _LOOK_AGAIN, f"changed {key}")
    if (outcome := wanted.outcome) is None:
        return
    changed = changed_prompts(ready, outcome)
    n, known = len(ready.prompts), len(outcome)
    of = f"{n}" if known == n else f"the first {known} of {n}"
    st.html(f"<b>Prompts whose prediction changed</b> · {len(changed)} of {of}")
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
