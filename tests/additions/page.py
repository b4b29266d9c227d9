"""Lengths: how long everything is. A page: goes to `app/views/`."""

from __future__ import annotations

import streamlit as st

PAGE = {"icon": ":material/straighten:"}

st.title("Lengths")
