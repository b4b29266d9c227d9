"""The graph as a Streamlit component: a GraphView in, what the reader switched off out.

A click never comes back through `data`, which would resend the whole graph: `data` changes only with the view
or with `rev`, the caller's count of its own changes (undo, reset, preset). vis-network, half a megabyte,
travels in a component of its own whose message never changes, so that each session receives it once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

from discogp.drawing import frontend
from discogp.drawing.view import GraphView

_vis = component("discogp_vis_network", js=frontend.vis_network() + "\nexport default function () {}\n")
_graph = component("discogp_circuit_graph", html=frontend.html(), css=frontend.css(), js=frontend.javascript())


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """What is switched off, by name. `seq` counts the reader's clicks since the graph was mounted."""

    edges: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()
    seq: int = 0

    @property
    def names(self) -> frozenset[str]:
        """Edges and nodes together, as `Circuit.without` takes them."""
        return self.edges | self.nodes


def circuit_graph(
    view: GraphView,
    off_edges: Collection[str] = (),
    off_nodes: Collection[str] = (),
    rev: int = 0,
    *,
    key: str,
    height: int = 640,
    on_change: Callable[[], None] | None = None,
) -> SwitchedOff:
    """Draw the view and return what is off now.

    `off_edges` and `off_nodes` are taken over when the graph is mounted, and again whenever `rev` or the circuit
    changes; between those, whatever drawing of it is shown, the reader's clicks rule, and passing their result back in
    is harmless. Mount inside `st.fragment`, so that quick clicks do not each start a run of the whole page. `on_change`
    is called after a click, before the run that it causes.
    """
    token = token_of(view, rev)
    clicked = _clicked(st.session_state.get(key), token)
    sent_key = f"_{key}_sent"
    sent = st.session_state.get(sent_key)
    if clicked is None or sent is None or sent[0] != token:
        sent = (token, {"edges": sorted(off_edges), "nodes": sorted(off_nodes)})
        st.session_state[sent_key] = sent
    data = {"graph": _drawing(view), "token": token, "off": sent[1], "height": height}
    with st.container(gap=None):
        _vis(key=f"{key}_vis")
        result = _graph(key=key, data=data, on_ablation_change=on_change or _nothing)
    now = _clicked(result, token)
    return now if now is not None else SwitchedOff(frozenset(off_edges), frozenset(off_nodes))


def token_of(view: GraphView, rev: int) -> str:
    """What clicks must carry to count: that of the circuit and of the caller's last change to what is off."""
    return f"{view.of}:{rev}"


def _nothing() -> None:
    """Streamlit keeps a state value only for which a callback is given."""


@st.cache_data(max_entries=8, show_spinner=False, hash_funcs={GraphView: lambda view: view.id})
def _drawing(view: GraphView) -> dict[str, Any]:
    return view.to_json()


def _clicked(state: Any, token: str) -> SwitchedOff | None:
    """The component's own state, if the clicks in it were made on this very circuit and revision."""
    value = state.get("ablation") if isinstance(state, Mapping) else None
    if not isinstance(value, Mapping) or value.get("token") != token:
        return None
    return SwitchedOff(frozenset(value["edges"]), frozenset(value["nodes"]), int(value["seq"]))
