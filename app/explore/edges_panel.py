"""Explore's "Which edges matter": what the circuit loses without each of its edges, and a way to switch them off."""

from __future__ import annotations

import logging
import math
from typing import Any

import streamlit as st

from app import session
from app.explore.survey import Share, Survey
from app.explore.ticker import look_again
from app.explore.toggles import History, Toggles
from app.explore.workbench import Workbench
from app.text import error_text
from discogp.errors import DiscoGPError
from discogp.evaluation.minimality import IDLE_KL, Effect

_LOOK_AGAIN = 1.0

_log = logging.getLogger(__name__)

_COLUMNS: dict[str, Any] = {
    "edge": st.column_config.TextColumn("Edge", width="medium"),
    "estimate": st.column_config.NumberColumn(
        "Estimate",
        format="%+.3f",
        help="First-order change of the logit difference without the edge: of all edges from one backward pass.",
    ),
    "logit_diff": st.column_config.NumberColumn(
        "Logit diff. change", format="%+.3f", help="What leaving the edge out really does; empty until it was done."
    ),
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


@st.fragment
def edges_panel(workbench: Workbench, history: History, key: str) -> None:
    """A button; then estimates of all edges; then exact figures as they come, beside them."""
    survey = workbench.survey
    if not survey.begun:
        if survey.error is not None:
            _failed(survey.error)
        st.button(
            "Which edges matter",
            icon=":material/playlist_remove:",
            on_click=survey.start,
            help="Estimates what each edge does, then runs the circuit without one after the other",
        )
        return
    if survey.estimates or not survey.running:
        st.html(_summary(survey))
        _table(survey, history, key)
    else:
        st.caption(":material/hourglass_top: Estimating what each edge does, from one backward pass.")
    _controls(survey)
    if survey.running and not survey.paused:
        look_again(_LOOK_AGAIN, f"survey {key}")


def _failed(error: BaseException) -> None:
    if not isinstance(error, DiscoGPError):
        _log.error("leave-one-out failed", exc_info=error)
    st.warning(f"Leaving out edges did not work. {error_text(error)}")


def _summary(survey: Survey) -> str:
    n, exact = len(survey.edges), len(survey.effects)
    said = ["<b>Which edges matter</b>"]
    if (share := survey.share) is not None:
        said.append(_minimality(share, n))
    said.append("all exact" if exact == n else f"{exact:,} of {n:,} exact, the others estimated")
    if not math.isnan(agreement := survey.agreement):
        said.append(f"rank correlation of estimate and exact {agreement:.2f}")
    return " · ".join(said)


def _minimality(share: Share, n_edges: int) -> str:
    value = f'<span class="dg-minimality">minimality {share.needed:.1%}</span>'
    counted = f"{share.n - share.idle:,} of {share.n:,} edges"
    if share.interval is None:
        return f"{value}: {counted} are needed, {share.idle:,} are idle"
    low, high = share.interval
    return f"{value} ({low:.0%} to {high:.0%} at 95 %): {counted} drawn at random are needed, of {n_edges:,}"


def _controls(survey: Survey) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if survey.running:
            done = len(survey.effects)
            if survey.paused:
                st.button("Go on", icon=":material/play_arrow:", on_click=survey.go_on)
            else:
                st.button("Pause", icon=":material/pause:", on_click=survey.pause)
            st.button("Cancel", icon=":material/close:", on_click=survey.cancel)
            standing = "Paused" if survey.paused else "Leaving out one edge after the other"
            st.caption(f"{standing}: {done:,} done. Clicks on the graph come first.")
        elif not survey.complete:
            left, seconds = len(survey.edges) - len(survey.effects), survey.seconds_left
            label = f"Leave out all other {left:,}" + ("" if seconds is None else f", about {_duration(seconds)}")
            st.button(label, icon=":material/done_all:", on_click=survey.everything)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _table(survey: Survey, history: History, key: str) -> None:
    """In the order of the estimates, which stays while exact figures come: a ticked row must stay where it is."""
    names = list(survey.estimates)
    picked = st.dataframe(
        [_record(name, survey.estimates[name], survey.effects.get(name)) for name in names],
        column_config=_COLUMNS,
        hide_index=True,
        height=min(360, 40 + 35 * len(names)),
        on_select="rerun",
        selection_mode="multi-row",
        key=f"edges {key}",
    )
    chosen = frozenset(names[row] for row in picked["selection"]["rows"])
    off = history.current
    with st.container(horizontal=True, vertical_alignment="center"):
        if chosen and chosen <= off.edges:
            _switch("Switch on", "toggle_on", history, off.edges - chosen, disabled=False)
        else:
            _switch("Switch off", "toggle_off", history, off.edges | chosen, disabled=not chosen)
        idle = frozenset(name for name, effect in dict(survey.effects).items() if effect.idle)
        _switch("Switch off all idle edges", "playlist_remove", history, off.edges | idle, disabled=idle <= off.edges)
        unknown = [name for name in names if name in chosen and name not in survey.effects]
        if not survey.complete:
            st.button(
                "Leave out ticked edges first",
                icon=":material/vertical_align_top:",
                on_click=survey.ask,
                args=(unknown,),
                disabled=not unknown,
            )
        st.caption("Tick edges to switch them off in the graph. Two idle edges may each stand in for the other.")


def _switch(label: str, icon: str, history: History, edges: frozenset[str], disabled: bool) -> None:
    toggles = Toggles(edges, history.current.nodes)
    st.button(label, icon=f":material/{icon}:", on_click=_set, args=(history, toggles), disabled=disabled)


def _set(history: History, toggles: Toggles) -> None:
    """What is off changes the graph and its figures too, so all of the panel runs again, not this part of it alone."""
    history.set(toggles)
    st.rerun(session.PANEL)


def _record(name: str, estimate: float, effect: Effect | None) -> dict[str, Any]:
    return {
        "edge": name,
        "estimate": estimate,
        "logit_diff": None if effect is None else effect.logit_diff,
        "change": None if effect is None else effect.change,
        "accuracy": None if effect is None else 100 * effect.accuracy,
        "changed": None if effect is None else effect.changed,
        "idle": None if effect is None else effect.idle,
    }
