"""Guide: what the page does, in two minutes. The text is `app/guide.md`."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app import session

PAGE = {"icon": ":material/menu_book:", "place": 5}

session.entered("guide")
st.title("Guide")
with st.container(width=820):
    st.markdown((Path(__file__).parent.parent / "guide.md").read_text(encoding="utf-8"))
