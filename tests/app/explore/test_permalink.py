"""Toggles in the address: there and back, and whatever else somebody may put there."""

from __future__ import annotations

import base64
import random
import zlib

import pytest

from app.explore.permalink import LinkError, decode, encode
from app.explore.toggles import Toggles
from discogp.circuits.graph import ComputationGraph

GRAPH = ComputationGraph(4, 8)
LARGE = ComputationGraph(12, 12)


@pytest.mark.parametrize("graph", [GRAPH, LARGE])
@pytest.mark.parametrize(("n_edges", "n_nodes"), [(1, 0), (0, 1), (12, 3), (400, 5)])
def test_there_and_back(graph, n_edges, n_nodes):
    chance = random.Random(0)
    edges = [edge.name for edge in chance.sample(graph.edges, n_edges)]
    nodes = [node.name for node in chance.sample(graph.nodes, n_nodes)]
    toggles = Toggles.of(edges, nodes)
    assert decode(encode(toggles, graph), graph) == toggles


def test_nothing_off_is_no_text():
    assert encode(Toggles(), GRAPH) == ""
    assert decode("", GRAPH) == Toggles()


def test_a_dozen_edges_of_a_large_graph_stay_short():
    edges = [edge.name for edge in random.Random(1).sample(LARGE.edges, 12)]
    assert len(encode(Toggles.of(edges, []), LARGE)) < 150


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(raw)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "!!!!",
        "<script>alert(1)</script>",
        "A" * 20_000,
        "ÄÖÜ",
        base64.urlsafe_b64encode(b"not deflated").decode(),
        _text(b""),
        _text(b"\x01"),
        _text(bytes(10_000)),
        _text(bytes(50_000_000)),  # a bomb: 50 MB in 65 kB of text, and a smaller one that is short enough
        _text(bytes(5_000_000)),
    ],
)
def test_hostile_text_is_refused(text):
    with pytest.raises(LinkError):
        decode(text, GRAPH)


def test_another_graphs_link_is_refused():
    with pytest.raises(LinkError, match="another model"):
        decode(encode(Toggles.of(["input->m0"], []), LARGE), GRAPH)


def test_a_truncated_link_is_refused():
    edges = [edge.name for edge in random.Random(1).sample(GRAPH.edges, 40)]
    text = encode(Toggles.of(edges, []), GRAPH)
    with pytest.raises(LinkError):
        decode(text[: len(text) // 2], GRAPH)
