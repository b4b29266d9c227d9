"""What the page is at work on: what runs, what waits, each with a button that stops it. Nothing while nothing is.

Every page on which somebody waits shows it; the work is everybody's, whoever asked for it.
"""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app import libraries, session
from app.jobs import Job
from app.text import plain

_SHOWN = 5
_EVERY = 1.0  # seconds between two looks while there is work


def show(keep: Callable[[], None] = lambda: None) -> None:
    """Looks again by itself until the queue is empty; a page that starts work runs again and so shows it.

    `keep` is called before the page runs again: what it told, and nobody has read yet, is to be told once more.
    """
    if session.loader().jobs.listed():
        _panel(keep)


@st.fragment(run_every=_EVERY)
def _panel(keep: Callable[[], None]) -> None:
    jobs = session.loader().jobs.listed()
    stopped = [job for job in jobs[:_SHOWN] if _row(job)]
    if len(jobs) > _SHOWN:
        st.caption(f"… and {len(jobs) - _SHOWN} more waiting")
    for job in stopped:
        session.loader().jobs.cancel(job)
    if stopped or not jobs:
        keep()
        st.rerun()  # the whole page, which then stops looking
    libraries.spare()


def _row(job: Job) -> bool:
    """One job; whether a visitor has just stopped it."""
    with st.container(horizontal=True, vertical_alignment="center", key=f"queue_{job.number}"):
        icon = {"running": ":material/sync:", "stopping": ":material/stop_circle:"}.get(
            job.state, ":material/schedule:"
        )
        st.caption(f"{icon} {plain(job.title)} · {_words(job)}", width="content")
        if job.state not in ("waiting", "running"):
            return False
        told = "Stop this, for everybody who waits for it"
        return st.button("Cancel", key=f"cancel_job_{job.number}", type="tertiary", help=told)


def _words(job: Job) -> str:
    if job.state == "running":
        return f"running for {job.seconds:.0f} s"
    return "waiting for its turn" if job.state == "waiting" else "stopping after this step"
