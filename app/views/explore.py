"""Explore: a circuit as a graph; switch edges and nodes off and see what the model then does."""

from __future__ import annotations

import streamlit as st

from app import queue_panel, session
from app.explore import panel, weights_panel
from app.explore.export_menu import export_menu
from app.explore.open_menu import open_menu
from app.explore.permalink import LinkError, decode
from app.explore.toggles import Toggles
from app.text import plain, sendable
from discogp.circuits.describe import describe, sentence, summary
from discogp.drawing.view import build_view
from discogp.errors import DiscoGPError

PAGE = {"icon": ":material/hub:", "place": 0}

told: list[str] = []


def warn(text: str) -> None:
    told.append(text)
    st.warning(text)


for earlier in session.take_told():
    warn(earlier)
link = session.link_once()
entries = session.choices()
ids = [entry.id for entry in entries]
if link.get("circuit") in ids:
    session.state()[session.PICKED] = link["circuit"]
elif link.get("circuit"):
    named = plain(repr(link["circuit"][:80]))
    warn(f"The link names the circuit {named}, which is not here. Another one is shown.")
    link = {}

with st.container(horizontal=True, vertical_alignment="bottom"):
    picked = panel.pick(entries)
    open_menu()
    exports = st.container(width="content")

if picked is None:
    st.info("There is no circuit to show yet. Find one on the Discover page, or open a circuit file.")
    st.stop()

try:
    circuit = session.open_circuit(picked)
    view = build_view(circuit, max_edges=panel.MOST_EDGES)
except DiscoGPError as error:
    st.error(plain(f"This circuit cannot be opened: {error}"))
    st.stop()

history = session.history(picked.id)
if link.get("off"):
    try:
        history.set(decode(link["off"], circuit.graph))
    except LinkError as error:
        warn(plain(str(error)[0].upper() + str(error)[1:]))
        history.set(Toggles())
if session.entered(f"explore {picked.id}"):
    history.remounted()

workbench = session.loader().workbench(picked.id, circuit) if session.may_run(picked.id, circuit) else None
with exports:
    export_menu(circuit, history, workbench, session.source(picked))
if notice := session.take_notice():
    st.info(plain(notice))
st.set_page_config(page_title=sendable(f"{describe(circuit)} · DiscoGP Explorer"))
st.markdown(plain(sentence(circuit)), help=plain(f"{describe(circuit)} · {summary(circuit, circuit.n_edges)}"))

for note in circuit.notes:
    st.caption(f":material/warning: {plain(note[0].upper() + note[1:])}.")


def keep() -> None:
    """What this run told is told in the next one too, which nobody asked for."""
    session.tell_again(told)
    if notice:
        session.leave_notice(notice)


# Asked before the panel draws: a model that is there only after it would otherwise never be looked at.
waiting = workbench is not None and not workbench.done()
panel.panel(picked, circuit, view, history, workbench)
queue_panel.show(keep)
weights_panel.show(circuit, picked.id)
if workbench is not None and waiting:
    panel.wait_for(workbench, keep)
