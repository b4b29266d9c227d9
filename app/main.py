"""DiscoGP Explorer: `streamlit run app/main.py`. Navigation only; each page is a file in `views/`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
if str(ROOT.parent) not in sys.path:  # Streamlit puts the script's own folder there, not the one above it
    sys.path.insert(0, str(ROOT.parent))

import streamlit as st  # noqa: E402

from app import libraries, session  # noqa: E402
from app.pages import pages  # noqa: E402

st.set_page_config(page_title="DiscoGP Explorer", page_icon=str(ROOT / "images" / "icon.svg"), layout="wide")
st.html(ROOT / "style.css")
st.logo(ROOT / "images" / "logo.svg", size="large")

menu = [st.Page(p.file, title=p.title, icon=p.icon, default=i == 0) for i, p in enumerate(pages())]
page = st.navigation(menu, position="top")
session.loader()
page.run()
libraries.spare()
