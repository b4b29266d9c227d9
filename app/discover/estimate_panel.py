"""What a search will take, on Discover: asked for with a button, found out in the background."""

from __future__ import annotations

import streamlit as st

from app import session
from app.text import error_text, plain
from discogp.runs import RunSettings


def estimate_panel(settings: RunSettings) -> None:
    """The button; then memory and time of this very form, or why they cannot be told."""
    future = session.loader().known_estimate(settings)
    if future is None:
        if st.button("How long, how much memory?", icon=":material/timer:", width="stretch"):
            session.loader().estimate(settings)
            st.rerun()
        return
    if not future.done():
        st.caption(":material/hourglass_top: Taking one step of this search to measure it.")
        _wait(settings)
        return
    try:
        found = future.result()
    except Exception as error:
        st.warning(error_text(error))
        return
    if not found.fits:
        st.warning(plain(f"This search does not fit into memory: {found}. Take a smaller model or fewer prompts."))
        return
    minutes, seconds = divmod(round(found.seconds or 0), 60)
    st.caption(
        f":material/timer: About {f'{minutes} min ' if minutes else ''}{seconds} s and {found.memory_mb:,.0f} MB of "
        f"memory ({found.available_mb:,.0f} MB are free), {found.micro_batch} prompts at a time."
    )


@st.fragment(run_every=0.5)
def _wait(settings: RunSettings) -> None:
    future = session.loader().known_estimate(settings)
    if future is None or future.done():
        st.rerun()
