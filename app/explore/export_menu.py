"""Downloads: the circuit as picture, page, or data, with what is switched off at the moment of the click."""

from __future__ import annotations

import re
from functools import partial

import streamlit as st

from app.explore.toggles import History
from discogp.circuits.circuit import Circuit
from discogp.circuits.describe import describe
from discogp.export import FORMATS


def export_menu(circuit: Circuit, history: History) -> None:
    """A file is made only when asked for, and asking does not run the page again."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", describe(circuit)).strip("-").lower() or "circuit"
    with st.popover("Export", icon=":material/download:"):
        for format in sorted(FORMATS.values(), key=lambda format: format.place):
            st.download_button(
                format.title,
                # Such a call sees no session state; the history is passed, and read when the call comes.
                data=partial(_make, circuit, history, format.name),
                file_name=f"{stem}.{format.name}",
                mime=format.media_type,
                on_click="ignore",
                key=f"export_{format.name}",
                width="stretch",
            )
        st.caption("What is switched off is drawn grey, and left out of the data.")


def _make(circuit: Circuit, history: History, name: str) -> bytes:
    from discogp.export import render

    return render(circuit, name, off=history.current.names)
