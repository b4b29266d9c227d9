"""DiscoGP Explorer: `streamlit run app/main.py`. Navigation only; each page is a file in `views/`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
if str(ROOT.parent) not in sys.path:  # Streamlit puts the script's own folder there, not the one above it
    sys.path.insert(0, str(ROOT.parent))

import streamlit as st  # noqa: E402

from app import session  # noqa: E402

st.set_page_config(page_title="DiscoGP Explorer", page_icon=str(ROOT / "images" / "icon.svg"), layout="wide")
st.html(ROOT / "style.css")
st.logo(ROOT / "images" / "logo.svg", size="large")

page = st.navigation(
    [
        st.Page(session.EXPLORE, title="Explore", icon=":material/hub:", default=True),
        st.Page(session.DISCOVER, title="Discover", icon=":material/search:"),
        st.Page(session.RUNS, title="Runs", icon=":material/history:"),
        st.Page(session.TASKS, title="Tasks", icon=":material/quiz:"),
        st.Page(session.MODELS, title="Models", icon=":material/deployed_code:"),
        st.Page(session.GUIDE, title="Guide", icon=":material/menu_book:"),
    ],
    position="top",
)
page.run()
