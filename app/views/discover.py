"""Discover: choose a model and a task, start a search, follow it."""

from __future__ import annotations

import streamlit as st

from app import queue_panel, session
from app.discover import run_panel, search_form
from app.discover.estimate_panel import estimate_panel
from app.text import plain
from discogp.errors import DiscoGPError
from discogp.runs import Run, current, start

PAGE = {"icon": ":material/search:", "place": 1}

session.entered("discover")
st.title("Discover")
if notice := session.take_notice():
    st.warning(plain(notice))
form, progress = st.columns([5, 7], gap="large")
runs = [run for run in current(session.store()) if isinstance(run, Run)]

with form:
    settings = search_form.show()
    earlier = None
    if settings is not None:
        estimate_panel(settings)
        queue_panel.show()
        earlier = run_panel.same_search(settings, runs)
    if (earlier is None or run_panel.again(earlier)) and st.button(
        "Find circuit", icon=":material/search:", type="primary", disabled=settings is None, width="stretch"
    ):
        assert settings is not None
        try:
            search_form.check(settings)
            session.loader().give_back()
            run = start(session.store(), session.store().create(settings))
            session.state()[session.WATCHED] = run.id
            runs = [run, *runs]
        except (DiscoGPError, OSError) as error:
            st.error(plain(str(error)))

with progress:
    live = [run for run in runs if run.live]
    watched = session.state().get(session.WATCHED)
    # After a refresh nothing is remembered but what is on disk: follow what is running, else show the newest.
    if watched not in [run.id for run in runs]:
        watched = (live or runs)[0].id if runs else None
    if watched is None:
        st.info("No search yet. Choose on the left and press *Find circuit*; the start page shows finished examples.")
    else:
        others = [run for run in live if run.id != watched]
        run_panel.watch(watched)
        for other in others:
            label = plain(f"Also {other.state}: {run_panel.title(other)}")
            if st.button(label, icon=":material/sync:", key=f"also {other.id}"):
                session.state()[session.WATCHED] = other.id
                st.rerun()
