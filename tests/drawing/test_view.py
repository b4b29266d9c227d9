"""What is drawn of a circuit, and where: no browser needed."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from discogp.circuits.circuit import Circuit
from discogp.circuits.describe import metrics_of, percent
from discogp.circuits.graph import ComputationGraph
from discogp.drawing.palette import PALETTES
from discogp.drawing.view import DEFAULT_SHOWN, Widths, build_view
from discogp.errors import ConfigError, GraphError
from tests.work import calls

GRAPH = ComputationGraph(3, 4)
NAMES = (
    "input->a0.h1<q>",
    "input->a0.h1<k>",
    "input->a0.h1<v>",
    "a0.h1->m0",
    "m0->a2.h3<v>",
    "m0->m2",
    "a2.h3->logits",
)
SCORES = {name: float(len(NAMES) - i) for i, name in enumerate(NAMES)}


def a_circuit(names=NAMES, **rest) -> Circuit:
    scores = np.zeros(GRAPH.n_edges, dtype=np.float32)
    for name in names:
        scores[GRAPH.index(name)] = SCORES.get(name, 1.0)
    return Circuit.from_edges(GRAPH, names, **({"edge_scores": scores} | rest))


def test_links_come_strongest_first_with_rank_and_score() -> None:
    view = build_view(a_circuit())
    assert [link.name for link in view.links] == list(NAMES)
    assert [link.rank for link in view.links] == list(range(1, 8))
    assert [link.score for link in view.links] == [SCORES[name] for name in NAMES]
    strengths = [link.strength for link in view.links]
    assert strengths == sorted(strengths, reverse=True)
    assert (max(strengths), min(strengths)) == (1.0, 0.0)


def test_only_nodes_that_occur_take_space() -> None:
    view = build_view(a_circuit())
    assert [node.name for node in view.nodes] == ["input", "a0.h1", "m0", "a2.h3", "m2", "logits"]
    places = {node.name: (node.x, node.y) for node in view.nodes}
    # Layer 1 and heads 0 and 2 do not occur: two rows, two columns, and the MLPs' column right of them.
    assert [label for _, label in view.rows] == ["L0", "L2"]
    assert places["a0.h1"] == (0, 0)
    assert places["a2.h3"] == (1, 1)
    assert places["m0"][0] == places["m2"][0] > 1
    assert places["m0"][1] == 0.5
    assert places["input"][1] == -1
    assert places["logits"][1] == 2
    assert len(set(places.values())) == len(places)


def test_every_edge_points_upwards() -> None:
    view = build_view(Circuit.full(GRAPH), None)
    heights = {node.name: node.y for node in view.nodes}
    assert len(view.links) == GRAPH.n_edges
    assert all(heights[link.source] < heights[link.target] for link in view.links)


def test_no_two_nodes_of_a_large_model_share_a_place() -> None:
    graph = ComputationGraph(30, 9)
    view = build_view(Circuit.full(graph), None)
    assert len({(node.x, node.y) for node in view.nodes}) == len(graph.nodes)


def test_degrees_count_the_circuit_and_the_graph() -> None:
    nodes = build_view(a_circuit(), max_edges=1).node_by_name
    assert (nodes["a0.h1"].n_in, nodes["a0.h1"].n_out) == (3, 1)
    assert nodes["a0.h1"].of_in == 3
    assert nodes["input"].n_out == 3
    assert (nodes["input"].of_in, nodes["logits"].of_out) == (0, 0)
    assert nodes["logits"].of_in == GRAPH.n_sources


def test_filters() -> None:
    circuit = a_circuit()

    def names(**filters) -> list[str]:
        return [link.name for link in build_view(circuit, **filters).links]

    assert names(max_edges=2) == list(NAMES[:2])
    assert names(max_edges=0) == []
    assert names(max_edges=None) == list(NAMES)
    assert names(min_score=5.5) == list(NAMES[:2])
    assert names(kinds=("v",)) == [NAMES[2], NAMES[4]]
    assert names(kinds=()) == []
    assert names(layers=(2, 2)) == [NAMES[4], NAMES[5], NAMES[6]]
    # A rank is the place in the circuit, whatever is filtered away.
    assert [link.rank for link in build_view(circuit, kinds=("v",)).links] == [3, 5]
    with pytest.raises(ConfigError, match="'x'"):
        names(kinds=("x",))


def test_off_edges_and_nodes() -> None:
    view = build_view(a_circuit(), off=("input->a0.h1<q>", "m0"))
    off = {link.name for link in view.links if view.is_off(link)}
    assert off == {"input->a0.h1<q>", "a0.h1->m0", "m0->a2.h3<v>", "m0->m2"}
    for wrong in ("a9.h9", "a9.h9->logits", "<script>"):
        with pytest.raises(GraphError):
            build_view(a_circuit(), off=(wrong,))


def test_parallel_edges_of_a_pair_have_curves_of_their_own() -> None:
    for target in ("a0.h1", "a2.h3"):
        names = [f"input->{target}<{kind}>" for kind in "qkv"]
        assert len({link.roundness for link in build_view(a_circuit(names)).links}) == 3
    # Within a column, the middle of an edge must leave the straight line, yet stay in reach of the column.
    graph = ComputationGraph(30, 1)
    for link in build_view(Circuit.full(graph), None).links:
        if link.same_column and link.source != "input":
            source, target = (int(name.split(".")[0][1:]) for name in (link.source, link.target.replace("m", "a")))
            out = (target - source) * (1 + link.roundness) * math.sin(link.roundness * math.pi / 2) / 4
            assert 0.08 < out < 2


def test_the_id_follows_the_drawing_and_not_what_is_off() -> None:
    base = build_view(a_circuit())
    assert base.id == build_view(a_circuit(), off=("m0",)).id
    assert base.id != build_view(a_circuit(), max_edges=3).id
    assert base.id != build_view(a_circuit(), title="other").id


def test_the_json_names_every_link() -> None:
    view = build_view(a_circuit(), off=("m0",))
    drawing = json.loads(json.dumps(view.to_json(), allow_nan=False))
    nodes = [node["id"] for node in drawing["nodes"]]
    names = [
        f"{nodes[source]}->{nodes[target]}" + (f"<{kind}>" if kind in "qkv" else "")
        for source, target, kind, *_ in drawing["links"]
    ]
    assert names == list(NAMES)
    assert drawing["id"] == view.id
    assert drawing["shown"] == len(NAMES) < DEFAULT_SHOWN
    # Clicks must never resend the graph.
    assert "off" not in drawing


def test_circuits_without_scores_or_edges() -> None:
    unscored = build_view(a_circuit(edge_scores=None))
    assert {link.strength for link in unscored.links} == {0.5}
    assert {link.score for link in unscored.links} == {None}
    empty = build_view(a_circuit(()))
    assert (empty.links, [node.name for node in empty.nodes]) == ((), ["input", "logits"])
    assert json.dumps(empty.to_json())
    equal = a_circuit(edge_scores=np.full(GRAPH.n_edges, 2, dtype=np.float32))
    assert {link.strength for link in build_view(equal).links} == {0.5}


def test_titles_and_numbers() -> None:
    circuit = a_circuit(
        provenance={
            "model": "/models/small/",
            "task": "ioi",
            "metrics": {
                "circuit": {"accuracy": 0.9, "kl": None, "top1": True, "note": "x"},
                "full": "nothing",
                "complement": {"kl": float("nan")},
            },
        },
        weight_masks={"m0.in": np.eye(4, dtype=bool)},
    )
    view = build_view(circuit, max_edges=2)
    assert view.title == "small · ioi"
    assert "7 of 262 edges (2.7 %)" in view.subtitle
    assert "25 % of the weights" in view.subtitle
    assert "strongest 2" in view.subtitle
    assert metrics_of(circuit) == (("circuit", {"accuracy": 0.9}),)
    assert build_view(a_circuit()).title == "Circuit"
    assert metrics_of(a_circuit(provenance={"metrics": [1]})) == ()


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (1, "100 %"), (0.123, "12 %"), (0.0203, "2.0 %"), (0.002, "0.20 %")]
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


def test_the_work_of_a_view_grows_as_the_edges_that_are_shown() -> None:
    circuit = Circuit.full(ComputationGraph(12, 12))
    assert len(build_view(circuit, 2000).links) == 2000
    some, twice, more = (calls(lambda n=n: build_view(circuit, n)) for n in (4000, 8000, 16_000))
    assert 0 < more - twice < 2.2 * (twice - some)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", PALETTES)
def test_colours_stand_out_from_the_background(theme: str) -> None:
    palette = PALETTES[theme]

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(one), luminance(other)))
        return (high + 0.05) / (low + 0.05)

    # WCAG 2.1: 3 for graphical objects, 4.5 for text.
    assert all(contrast(colour, palette["background"]) >= 3 for colour in palette["edges"].values())
    assert contrast(palette["dim"], palette["background"]) >= 4.5
    for node in palette["nodes"].values():
        assert contrast(palette["text"], node["fill"]) >= 4.5


def test_widths_by_something_else_rank_and_size_and_say_what_they_show() -> None:
    values = np.zeros(GRAPH.n_edges, dtype=np.float32)
    for i, name in enumerate(NAMES):
        values[GRAPH.index(name)] = i * (-1) ** i  # the last by score is the largest, and signs take turns
    circuit = a_circuit()
    view = build_view(circuit, widths=Widths(values, "effect"))
    assert [link.name for link in view.links] == list(reversed(NAMES))
    assert [link.rank for link in view.links] == list(range(1, 8))
    assert [link.value for link in view.links] == [6, -5, 4, -3, 2, -1, 0]
    assert [link.score for link in view.links] == [SCORES[name] for name in reversed(NAMES)]
    assert [link.strength for link in view.links] == sorted((link.strength for link in view.links), reverse=True)
    assert view.to_json()["widthsShow"] == "change of the logit difference if cut"
    assert view.to_json()["links"][0][-1] == 6
    assert build_view(circuit, 2, widths=Widths(values, "effect")).links[1].name == NAMES[-2]
    assert view.id != build_view(circuit, widths=Widths(values, "estimate")).id != build_view(circuit).id
    plain = build_view(circuit)
    assert (plain.widths_show, plain.links[0].value) == ("score", None)


def test_filters_keep_the_rank_by_what_widths_show() -> None:
    values = np.arange(GRAPH.n_edges, dtype=np.float32)
    links = build_view(a_circuit(), kinds=["mlp"], widths=Widths(values, "effect")).links
    everything = {link.name: link.rank for link in build_view(a_circuit(), widths=Widths(values, "effect")).links}
    assert [link.rank for link in links] == [everything[link.name] for link in links]
    assert len(links) == 2
