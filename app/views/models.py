"""Models: which are here, and how to get the others."""

from __future__ import annotations

import streamlit as st

from app import queue_panel, session
from discogp.models.families.table import ARCHITECTURES
from discogp.models.registry import KnownModel, list_models

PAGE = {"icon": ":material/deployed_code:", "place": 4}

session.entered("models")
st.title("Models")
st.caption("Everything runs on this machine. Nothing is downloaded unless you run one of the commands below.")
queue_panel.show()


def card(model: KnownModel) -> None:
    here = model.available()
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader(model.title, anchor=False, width="content")
            st.markdown(":green-badge[:material/check: here]" if here else ":gray-badge[not here]", width="content")
        st.markdown(model.description)
        parts = [f"name `{model.name}`"]
        if model.n_params:
            parts.append(f"{model.n_params / 1e6:,.0f} M parameters")
        if model.size_mb:
            parts.append(f"{model.size_mb:,} MB on disk")
        st.caption(" · ".join([*parts, f"licence {model.license}", model.source]))
        if here:
            return
        if model.fetch or model.hub_names:
            st.code(f"python -m discogp models get {model.name}", language="shell")
        else:
            st.text(f"{model.how_to_get()}.")


for known in list_models():
    card(known)

st.subheader("Other models", anchor=False)
st.markdown(
    "On the Discover page, type the path of a Hugging Face model folder, or a name on the hub, of one of these "
    "families. A hub name works without a network once the model is in the local cache. Every other architecture, and "
    "every setting that would not be reproduced exactly, is refused with the reason."
)
rows = ARCHITECTURES.values()
st.table({"Family": [r.family for r in rows], "Class": [f"`{r.name}`" for r in rows], "": [r.note for r in rows]})
