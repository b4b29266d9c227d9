"""Downloads: the circuit as picture, page, or data, with what is switched off at the moment of the click."""

from __future__ import annotations

import logging
import re
from concurrent.futures import Future
from functools import partial

import streamlit as st

from app.explore.toggles import History
from app.explore.widths import widths_of
from app.explore.workbench import Workbench
from discogp.circuits.circuit import Circuit
from discogp.circuits.describe import describe
from discogp.export import FORMATS, Measured

_PATIENCE = 20.0  # seconds that a download waits for the model, to carry its figures

_log = logging.getLogger(__name__)


def export_menu(circuit: Circuit, history: History, workbench: Future[Workbench] | None, source: str) -> None:
    """A file is made only when asked for, and asking does not run the page again.

    `source`: where the circuit is, for the command that makes the export again.
    """
    stem = re.sub(r"[^A-Za-z0-9]+", "-", describe(circuit)).strip("-").lower() or "circuit"
    with st.popover("Export", icon=":material/download:"):
        for format in sorted(FORMATS.values(), key=lambda format: format.place):
            st.download_button(
                format.title,
                # Such a call sees no session state; the history is passed, and read when the call comes.
                data=partial(_make, circuit, history, workbench, source, format.name),
                file_name=f"{stem}.{format.suffix}",
                mime=format.media_type,
                on_click="ignore",
                key=f"export_{format.name}",
                width="stretch",
            )
        st.caption("What is switched off is drawn grey, and left out of the data.")
        st.caption("Figures are those of what is left, with the original's beside them.")


def _make(circuit: Circuit, history: History, workbench: Future[Workbench] | None, source: str, name: str) -> bytes:
    from discogp.export import render

    off = history.current.names  # looked at once: a click may come while the figures are computed
    figures, widths = measured(workbench, off), None
    if history.by_effect and workbench is not None and figures is not None:
        widths = widths_of(circuit, workbench.result().survey)
    return render(circuit, name, off=off, measured=figures, source=source, widths=widths)


def measured(workbench: Future[Workbench] | None, off: frozenset[str]) -> Measured | None:
    """The figures that the page shows; None where its model cannot be run, which the export then says."""
    if workbench is None:
        return None
    try:
        return figures_of(workbench.result(timeout=_PATIENCE), off)
    except Exception as error:  # whatever it is, the page tells it; the drawing does not need the model
        _log.info("an export goes out without figures: %s", error)
        return None


def figures_of(ready: Workbench, off: frozenset[str]) -> Measured:
    """Of the circuit and, with edges and nodes off, of what is left of it; those not known yet are computed."""
    edited = ready.without(off).metrics.to_json() if off else None
    return Measured(ready.figures("full"), ready.figures("circuit"), ready.figures("complement"), edited=edited)
