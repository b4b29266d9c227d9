"""A circuit goes to networkx and pyvis with what it looks like, and comes back."""

from __future__ import annotations

import re
from io import BytesIO

import networkx as nx
import numpy as np
import pytest

from discogp.circuits.artifact import load_circuit
from discogp.circuits.circuit import Circuit
from discogp.circuits.graph import ComputationGraph
from discogp.drawing.palette import PALETTES
from discogp.errors import ArtifactError
from discogp.paths import assets

GRAPH = ComputationGraph(3, 2, parallel=True)


@pytest.fixture(scope="module")
def example() -> Circuit:
    return load_circuit(assets() / "examples" / "mini-ioi-edges")


def same(one: Circuit, other: Circuit) -> None:
    assert one.graph == other.graph
    assert one.edges == other.edges
    assert (one.ablation, one.searched) == (other.ablation, other.searched)
    assert [e.name for e in one.strongest()] == [e.name for e in other.strongest()]
    if one.edge_scores is None or other.edge_scores is None:
        assert one.edge_scores is other.edge_scores
        return
    np.testing.assert_array_equal(one.edge_scores[one.edge_mask], other.edge_scores[other.edge_mask])


def test_every_edge_has_its_label_colour_score_and_rank(example: Circuit) -> None:
    network = example.to_networkx()
    assert isinstance(network, nx.MultiDiGraph)
    assert {key for _, _, key in network.edges(keys=True)} == set(example.edges)
    ranks = {edge.name: rank for rank, edge in enumerate(example.strongest(), start=1)}
    assert example.edge_scores is not None
    for source, target, key, data in network.edges(keys=True, data=True):
        assert key.startswith(f"{source}->{target}")
        assert data["label"] == key
        assert data["score"] == pytest.approx(example.edge_scores[example.graph.index(key)])
        assert data["rank"] == ranks[key]
        assert data["color"] == PALETTES["light"]["edges"][data["kind"]]
    for name, data in network.nodes(data=True):
        assert data["label"] == name
        assert re.fullmatch("#[0-9A-F]{6}", data["color"])
    assert network.nodes["input"]["kind"] == "input"


def test_the_round_trip(example: Circuit) -> None:
    back = Circuit.from_networkx(example.to_networkx())
    same(example, back)
    assert back.provenance["metrics"] == example.provenance["metrics"]
    same(example, Circuit.from_networkx(example.to_pyvis()))
    plain = Circuit.from_edges(GRAPH, ["input->a0.h0<q>", "m0->logits"], ablation="mean")
    same(plain, Circuit.from_networkx(plain.to_networkx()))
    same(Circuit.from_edges(GRAPH, []), Circuit.from_networkx(Circuit.from_edges(GRAPH, []).to_networkx()))


def test_the_round_trip_through_a_file_of_networkx(example: Circuit) -> None:
    file = BytesIO()
    nx.write_graphml(example.to_networkx(), file)
    file.seek(0)
    same(example, Circuit.from_networkx(nx.read_graphml(file, force_multigraph=True)))


def test_what_was_changed_in_between_comes_back_changed(example: Circuit) -> None:
    network = example.to_networkx()
    first, second = example.edges[:2]
    network.remove_edge(*re.split("->|<", first)[:2], key=first)
    assert set(Circuit.from_networkx(network).edges) == set(example.edges) - {first}
    vis = example.to_pyvis()
    vis.edges = [edge for edge in vis.edges if edge["id"] != second]
    assert set(Circuit.from_networkx(vis).edges) == set(example.edges) - {second}


def test_only_the_strongest(example: Circuit) -> None:
    network = example.to_networkx(5)
    assert {key for *_, key in network.edges(keys=True)} == {e.name for e in example.strongest(5)}


def test_weight_masks_are_left_out_and_that_is_said() -> None:
    sheaf = load_circuit(assets() / "examples" / "mini-ioi-both")
    network = sheaf.to_networkx()
    assert "density" in network.graph["weight_masks_left_out"]
    back = Circuit.from_networkx(network)
    assert back.weight_masks is None
    assert back.searched == "edges"


def test_pyvis_draws_it(example: Circuit) -> None:
    vis = example.to_pyvis(height="300px")
    page = vis.generate_html()
    assert all(edge["id"] in set(example.edges) for edge in vis.edges)
    assert "a0.h0" in page or "input" in page
    assert {node["label"] for node in vis.nodes} == set(example.to_networkx().nodes)
    assert all("score" in edge["title"] for edge in vis.edges)


def test_what_is_no_graph_of_ours_is_refused() -> None:
    with pytest.raises(ArtifactError, match="how many layers"):
        Circuit.from_networkx(nx.MultiDiGraph())
    for provenance in ("{", "5", 5):
        network = Circuit.from_edges(GRAPH, ["m0->logits"]).to_networkx()
        network.graph["provenance"] = provenance
        with pytest.raises(ArtifactError, match="provenance"):
            Circuit.from_networkx(network)
    network = Circuit.from_edges(GRAPH, ["m0->logits"]).to_networkx()
    network.add_edge("m0", "m9", key="m0->m9")
    with pytest.raises(ArtifactError, match="m0->m9"):
        Circuit.from_networkx(network)
    network = Circuit.from_edges(GRAPH, ["m0->logits"]).to_networkx()
    network.add_edge("m0", "logits", key=7, name="m0->logits")
    with pytest.raises(ArtifactError, match="twice"):
        Circuit.from_networkx(network)
    network = Circuit.from_edges(GRAPH, ["m0->logits"]).to_networkx()
    network.add_edge("m0", "m1")
    with pytest.raises(ArtifactError, match="no name"):
        Circuit.from_networkx(network)
    network = Circuit.from_edges(GRAPH, ["m0->logits"]).to_networkx()
    network.edges["m0", "logits", "m0->logits"]["score"] = float("nan")
    with pytest.raises(ArtifactError, match="finite"):
        Circuit.from_networkx(network)
