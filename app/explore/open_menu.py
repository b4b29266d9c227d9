"""Bring a circuit file along."""

from __future__ import annotations

import hashlib

import streamlit as st

from app import session
from app.text import plain
from discogp.circuits.document import circuit_from_json
from discogp.errors import DiscoGPError


def open_menu() -> None:
    """A popover with a file uploader; a file that is no circuit is told there and changes nothing."""
    with st.popover("Open file", icon=":material/folder_open:"):
        file = st.file_uploader("Circuit file", type=["json"], help="A circuit JSON, as Export makes it.")
        if file is None:
            st.caption("The file stays on this machine, for this visit only.")
            return
        content = file.getvalue()
        key = f"file:{file.name} ({hashlib.sha256(content).hexdigest()[:6]})"
        if key in session.uploads():
            return
        try:
            circuit = circuit_from_json(content, source=file.name)
        except DiscoGPError as error:
            st.error(plain(str(error)))
            return
        session.uploads()[key] = circuit
        session.state()[session.PICKED] = key
        st.rerun()
