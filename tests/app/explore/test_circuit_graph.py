"""The component's Python half: which clicks count, and that a click never resends the graph."""

from __future__ import annotations

import ast

import pytest
from streamlit.testing.v1 import AppTest


def page() -> None:
    import streamlit as st

    from app.explore.circuit_graph import circuit_graph, token_of
    from discogp.circuits.circuit import Circuit
    from discogp.circuits.graph import ComputationGraph
    from discogp.drawing.view import build_view

    names = st.session_state.get("names", ["input->logits", "input->m0", "m0->logits"])
    off = st.session_state.get("off", [])
    view = build_view(Circuit.from_edges(ComputationGraph(1, 1), names), title=st.session_state.get("title"))
    now = circuit_graph(view, off, ["m0"], st.session_state.get("rev", 0), key="graph")
    st.session_state["token"] = token_of(view, st.session_state.get("rev", 0))
    st.text(repr((sorted(now.edges), sorted(now.nodes), now.seq, sorted(now.names))))
    st.text(repr(st.session_state["_graph_sent"][1]))


@pytest.fixture
def app() -> AppTest:
    return AppTest.from_function(page).run()


def shown(app: AppTest) -> tuple[tuple, dict]:
    assert not app.exception
    return tuple(ast.literal_eval(text.value) for text in app.text[:2])  # type: ignore[return-value]


def click(app: AppTest, edges: list[str], seq: int, token: str) -> AppTest:
    app.session_state["graph"] = {"ablation": {"edges": edges, "nodes": [], "seq": seq, "token": token}}
    return app.run()


def test_at_first_the_caller_rules(app: AppTest) -> None:
    assert shown(app) == (([], ["m0"], 0, ["m0"]), {"edges": [], "nodes": ["m0"]})


def test_a_click_is_returned_and_not_sent_back(app: AppTest) -> None:
    click(app, ["input->logits"], 1, app.session_state["token"])
    now, sent = shown(app)
    assert now == (["input->logits"], [], 1, ["input->logits"])
    assert sent == {"edges": [], "nodes": ["m0"]}
    # The page may pass the clicks back in; what travels to the browser stays the same.
    app.session_state["off"] = ["input->logits"]
    app.run()
    assert shown(app)[1] == {"edges": [], "nodes": ["m0"]}


def test_an_undo_overrules_clicks_made_before_it(app: AppTest) -> None:
    old = app.session_state["token"]
    click(app, ["input->logits"], 1, old)
    app.session_state["rev"] = 1
    app.session_state["off"] = ["input->m0"]
    app.run()
    assert shown(app) == (
        (["input->m0"], ["m0"], 0, ["input->m0", "m0"]),
        {"edges": ["input->m0"], "nodes": ["m0"]},
    )
    click(app, ["input->logits"], 2, old)
    assert shown(app)[0][2] == 0
    click(app, [], 3, app.session_state["token"])
    assert shown(app)[0] == ([], [], 3, [])


def test_another_circuit_forgets_the_clicks(app: AppTest) -> None:
    click(app, ["input->logits"], 1, app.session_state["token"])
    app.session_state["names"] = ["input->m0"]
    app.run()
    assert shown(app)[0] == ([], ["m0"], 0, ["m0"])


def test_another_drawing_of_the_circuit_keeps_clicks_those_that_are_on_their_way_too(app: AppTest) -> None:
    token = app.session_state["token"]
    click(app, ["input->logits"], 1, token)
    app.session_state["title"] = "another"
    app.run()
    assert shown(app)[0] == (["input->logits"], [], 1, ["input->logits"])
    click(app, ["input->logits", "input->m0"], 2, token)
    assert shown(app)[0][0] == ["input->logits", "input->m0"]
