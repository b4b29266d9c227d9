"""Explore's token view: what the full model and the circuit predict at every position of one prompt."""

from __future__ import annotations

import streamlit as st

from app.explore.results import own_figures
from app.explore.toggles import Toggles
from app.explore.workbench import Workbench
from app.tables import prompts_table, tokens_table
from app.text import plain
from discogp.errors import DiscoGPError

_OWN = -1
_LISTED = 200


def token_panel(workbench: Workbench, off: Toggles) -> None:
    """A switch; behind it a prompt, of the task or typed, and a table of its positions that follows what is off."""
    if not st.toggle("Predictions at every position", key="tokens_open"):
        return
    examples = workbench.prompts.examples[:_LISTED]
    place = st.selectbox(
        "Prompt",
        [_OWN, *range(len(examples))],
        index=1,
        format_func=lambda i: "Your own text" if i == _OWN else examples[i].prompt,
        key="tokens_prompt",
    )
    text = ""
    if place == _OWN:
        text = st.text_input("Your own text", key="tokens_text", placeholder="The women near the door admired")
        if not text.strip():
            st.caption("Type a text and press Enter.")
            return
    try:
        own = own_figures(workbench, place, off.names) if place != _OWN and off else None
        rows = workbench.positions(text if place == _OWN else place, off.names)
    except DiscoGPError as error:
        st.warning(plain(str(error)))
        return
    if own is not None:
        st.html(prompts_table([own]))
    st.html(tokens_table(rows))
    st.caption(
        "The likeliest next tokens after each token. The deeper a row's colour, the further the circuit's prediction "
        "is from the full model's. A circuit is found for the last position only."
    )
