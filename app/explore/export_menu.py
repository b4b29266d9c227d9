"""Downloads: the circuit as picture, page, or data, with what is switched off at the moment of the click."""

from __future__ import annotations

import re
from functools import partial

import streamlit as st

from app.explore.toggles import History
from discogp.circuits.circuit import Circuit
from discogp.circuits.describe import describe

# format, what it is, media type
FORMATS = (
    ("png", "PNG picture", "image/png"),
    ("svg", "SVG drawing", "image/svg+xml"),
    ("pdf", "PDF page", "application/pdf"),
    ("html", "Interactive page (HTML)", "text/html"),
    ("json", "Circuit (JSON)", "application/json"),
    ("graphml", "Graph (GraphML)", "application/graphml+xml"),
)


def export_menu(circuit: Circuit, history: History) -> None:
    """A file is made only when asked for, and asking does not run the page again."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", describe(circuit)).strip("-").lower() or "circuit"
    with st.popover("Export", icon=":material/download:"):
        for name, title, media in FORMATS:
            st.download_button(
                title,
                # Such a call sees no session state; the history is passed, and read when the call comes.
                data=partial(_make, circuit, history, name),
                file_name=f"{stem}.{name}",
                mime=media,
                on_click="ignore",
                key=f"export_{name}",
                width="stretch",
            )
        st.caption("What is switched off is drawn grey, and left out of the data.")


def _make(circuit: Circuit, history: History, name: str) -> bytes:
    from discogp.export import render

    return render(circuit, name, off=history.current.names)
