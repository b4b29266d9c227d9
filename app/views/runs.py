"""Runs: every search of this machine, whatever became of it."""

from __future__ import annotations

import streamlit as st

from app import session
from app.discover import run_panel
from app.text import plain, sendable
from discogp.errors import DiscoGPError
from discogp.runs import Run, Unreadable, current

PAGE = {"icon": ":material/history:", "place": 2}

session.entered("runs")
st.title("Runs")
st.caption("Each search is a process of its own: it goes on when this page is closed, and stays until you delete it.")
if notice := session.take_notice():
    st.info(plain(notice))

_AT_FIRST = 100  # of hundreds, drawing them all would hold the page for seconds

runs = current(session.store())
if not runs:
    st.info("No search has been started yet. The Discover page starts one.")


def delete(run_id: str) -> None:
    try:
        session.store().delete(run_id)
        session.leave_notice(f"Deleted {run_id}.")
    except (DiscoGPError, OSError) as error:
        session.leave_notice(f"{run_id} could not be deleted: {error}")


shown = len(runs) if st.session_state.get("all_runs") else _AT_FIRST
for run in runs[:shown]:
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        if isinstance(run, Unreadable):
            st.markdown(":material/broken_image:", width="content")
            with st.container(gap=None):
                st.text(sendable(run.id))
                st.caption(plain(f"Unreadable: {run.reason}. The other runs are not affected."))
        else:
            st.markdown(run_panel.BADGES[run.state], width="content")
            with st.container(gap=None):
                st.text(run_panel.title(run))
                st.caption(plain(run_panel.subtitle(session.store(), run)))
                for note in run_panel.notes(session.store(), run):
                    st.caption(f":material/warning: {plain(note)}")
                if run.error:
                    st.text(sendable(run.error))
        if isinstance(run, Run):
            if run.state == "done" and st.button("Explore", icon=":material/hub:", key=f"open {run.id}"):
                session.go_explore(f"run:{run.id}")
            if session.store().can_continue(run) and st.button(
                "Continue", icon=":material/resume:", key=f"go {run.id}"
            ):
                run_panel.continue_run(session.store(), run.id)
                st.rerun()
            if st.button("Progress", icon=":material/show_chart:", key=f"watch {run.id}"):
                session.state()[session.WATCHED] = run.id
                st.switch_page(session.DISCOVER)
        live = isinstance(run, Run) and run.live
        with st.popover("", icon=":material/delete:", disabled=live, help="Delete" if not live else "Cancel it first"):
            st.write("Delete this run's folder, with its circuit?")
            st.button("Delete", type="primary", key=f"delete {run.id}", on_click=delete, args=(run.id,))
if shown < len(runs):
    st.toggle(f"Show all {len(runs):,} runs, not only the newest {shown}", key="all_runs")
