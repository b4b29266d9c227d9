"""Explore's "Which edges matter": what the circuit loses without each of its edges, and a way to switch them off."""

from __future__ import annotations

import logging
from typing import Any

import streamlit as st

from app.explore.survey import Survey
from app.explore.toggles import History, Toggles
from app.explore.workbench import Workbench
from app.text import error_text
from discogp.errors import DiscoGPError
from discogp.evaluation.minimality import IDLE_KL, Effect, Minimality

_log = logging.getLogger(__name__)

_COLUMNS: dict[str, Any] = {
    "edge": st.column_config.TextColumn("Edge", width="medium"),
    "change": st.column_config.NumberColumn(
        "KL change",
        format="%.4f",
        help="How far the prediction moves from the circuit's own, in nats; mean over prompts.",
    ),
    "accuracy": st.column_config.NumberColumn(
        "Accuracy change", format="%+.1f %%", help="In percentage points, against the circuit with the edge."
    ),
    "changed": st.column_config.NumberColumn(
        "Prompts changed", help="Prompts whose likeliest token, or whose verdict of right over wrong, is another."
    ),
    "idle": st.column_config.CheckboxColumn("Idle", help=f"No prompt changes, and KL by less than {IDLE_KL:g} nats."),
}


def edges_panel(workbench: Workbench, history: History, key: str) -> None:
    """A button; then the progress; then the edges, the one that matters most first."""
    survey = workbench.survey
    if survey.running:
        _wait_for(survey)
    elif (found := survey.result) is not None:
        _table(found, history, key)
    else:
        if survey.error is not None:
            _failed(survey.error)
        st.button(
            "Which edges matter",
            icon=":material/playlist_remove:",
            on_click=survey.start,
            help="Runs the circuit without each of its edges in turn, and lists what that changes",
        )


@st.fragment(run_every=0.4)
def _wait_for(survey: Survey) -> None:
    if not survey.running:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(survey.progress, f"Leaving out every edge in turn: {survey.progress:.0%}")
        st.button("Cancel", icon=":material/close:", on_click=survey.cancel)


def _failed(error: BaseException) -> None:
    if not isinstance(error, DiscoGPError):
        _log.error("leave-one-out failed", exc_info=error)
    st.warning(f"Leaving out every edge did not work. {error_text(error)}")


def _table(found: Minimality, history: History, key: str) -> None:
    effects = found.effects
    st.html(
        f'<b>Which edges matter</b> · <span class="dg-minimality">minimality {found.minimality:.1%}</span>: '
        f"{len(effects) - found.n_idle} of {len(effects)} edges are needed, {found.n_idle} are idle"
    )
    picked = st.dataframe(
        [_record(effect) for effect in effects],
        column_config=_COLUMNS,
        hide_index=True,
        height=min(360, 40 + 35 * len(effects)),
        on_select="rerun",
        selection_mode="multi-row",
        key=f"edges {key}",
    )
    chosen = frozenset(effects[row].edge for row in picked["selection"]["rows"])
    off = history.current
    with st.container(horizontal=True, vertical_alignment="center"):
        if chosen and chosen <= off.edges:
            _switch("Switch on", "toggle_on", history, off.edges - chosen, disabled=False)
        else:
            _switch("Switch off", "toggle_off", history, off.edges | chosen, disabled=not chosen)
        idle = frozenset(effect.edge for effect in effects if effect.idle)
        _switch("Switch off all idle edges", "playlist_remove", history, off.edges | idle, disabled=idle <= off.edges)
        st.caption("Tick edges to switch them off in the graph. Two idle edges may each stand in for the other.")


def _switch(label: str, icon: str, history: History, edges: frozenset[str], disabled: bool) -> None:
    toggles = Toggles(edges, history.current.nodes)
    st.button(label, icon=f":material/{icon}:", on_click=history.set, args=(toggles,), disabled=disabled)


def _record(effect: Effect) -> dict[str, Any]:
    return {
        "edge": effect.edge,
        "change": effect.change,
        "accuracy": 100 * effect.accuracy,
        "changed": effect.changed,
        "idle": effect.idle,
    }
