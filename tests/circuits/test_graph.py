"""The graph and circuits on it, counted and named by hand."""

from __future__ import annotations

import numpy as np
import pytest

from discogp.circuits.circuit import Circuit
from discogp.circuits.graph import ComputationGraph
from discogp.errors import GraphError

GRAPH = ComputationGraph(2, 2)
PARALLEL = ComputationGraph(2, 2, parallel=True)


def readers_of(graph: ComputationGraph, source: str) -> set[str]:
    return {edge.reader for edge in graph.edges if edge.source == source}


def test_who_reads_whom() -> None:
    later = {f"a1.h{head}<{role}>" for head in (0, 1) for role in "qkv"} | {"m1", "logits"}
    first = {f"a0.h{head}<{role}>" for head in (0, 1) for role in "qkv"}
    for graph, own in ((GRAPH, {"m0"}), (PARALLEL, set())):
        assert readers_of(graph, "input") == first | {"m0"} | later
        assert readers_of(graph, "a0.h1") == own | later
        assert readers_of(graph, "m0") == later
        assert readers_of(graph, "a1.h0") == ({"m1", "logits"} if own else {"logits"})
        assert readers_of(graph, "m1") == {"logits"}
    assert (GRAPH.n_edges, PARALLEL.n_edges) == (46, 42)  # 6 + 3 + 24 + 6 + 7; without 2 · 2


@pytest.mark.parametrize("graph", [GRAPH, PARALLEL])
def test_edges_rows_and_columns_agree(graph: ComputationGraph) -> None:
    for edge in graph.edges:
        assert graph.readers[edge.row] == edge.reader
        assert graph.sources[edge.column] == edge.source
        assert graph.edge(edge.name) == edge
        assert graph.exists[edge.row, edge.column]
    assert int(graph.exists.sum()) == graph.n_edges
    for column, source in enumerate(graph.sources[1:], start=1):
        own = [graph.readers[row] for row in graph.own_rows(column)]
        assert own == ([f"{source}<{role}>" for role in "qkv"] if source[0] == "a" else [source])


@pytest.mark.parametrize("name", ["m0->m0", "a0.h0->a0.h0<q>", "a0.h1->a0.h0<v>", "m1->m0", "m0->a0.h0<k>"])
def test_no_node_reads_itself_or_what_comes_later(name: str) -> None:
    with pytest.raises(GraphError, match="is computed after"):
        GRAPH.index(name)


def test_a_node_s_edges_are_those_in_and_out() -> None:
    names = {GRAPH.edges[i].name for i in GRAPH.incident("m0")}
    assert names == {edge.name for edge in GRAPH.edges if edge.source == "m0" or edge.reader == "m0"}
    circuit = Circuit.from_edges(GRAPH, ["input->m0", "m0->logits", "input->logits"])
    assert circuit.without(["m0"]).edges == ("input->logits",)
    assert circuit.without(["m0->logits"]).edges == ("input->m0", "input->logits")


@pytest.mark.parametrize(
    ("kept", "reaching"),
    [
        (["input->m0", "m0->m1", "m1->logits"], ["input->m0", "m0->m1", "m1->logits"]),
        (["input->m0", "m0->m1", "input->logits"], ["input->logits"]),
        (["input->a0.h0<q>", "a0.h0->m0", "m0->a1.h1<k>", "a1.h1->logits"], None),
        (["input->m1", "input->a0.h1<v>"], []),
        ([], []),
    ],
)
def test_what_reaches_the_logits(kept: list[str], reaching: list[str] | None) -> None:
    found = GRAPH.reaching_logits(Circuit.from_edges(GRAPH, kept).edge_mask)
    np.testing.assert_array_equal(found, Circuit.from_edges(GRAPH, kept if reaching is None else reaching).edge_mask)


def test_heads_that_are_normed_together_reach_the_logits_together() -> None:
    joint = ComputationGraph(2, 2, joint_heads=True)
    kept = Circuit.from_edges(joint, ["input->a1.h0<v>", "a1.h1->logits", "input->a0.h0<v>", "input->m0"])
    found = Circuit(joint, joint.reaching_logits(kept.edge_mask)).edges
    assert set(found) == {"input->a1.h0<v>", "a1.h1->logits"}
    assert joint.written_together([0, 2, 3, 5]) == [(0,), (1, 2), (3,), (4, 5)]
    assert GRAPH.written_together([5, 0, 2]) == [(0,), (2,), (5,)]


@pytest.mark.parametrize("searched", ["edges", "weights", "both"])
def test_a_complement_turns_round_what_was_searched(searched: str) -> None:
    rng = np.random.default_rng(0)
    edges, weights = rng.random(46) < 0.5, rng.random((3, 2)) < 0.5
    scores = np.linspace(-1, 1, 46, dtype=np.float32)
    circuit = Circuit(GRAPH, edges, scores, {"m0.in": weights}, searched=searched)  # type: ignore[arg-type]
    complement = circuit.complement()
    assert complement.weight_masks is not None
    assert complement.edge_scores is not None
    np.testing.assert_array_equal(complement.edge_mask, edges if searched == "weights" else ~edges)
    np.testing.assert_array_equal(complement.weight_masks["m0.in"], weights if searched == "edges" else ~weights)
    np.testing.assert_array_equal(complement.edge_scores, -scores)


def test_the_strongest_edges_come_first() -> None:
    scores = np.arange(46, dtype=np.float32)
    kept = np.isin(np.arange(46), [3, 20, 41])
    assert [edge.index for edge in Circuit(GRAPH, kept, scores).strongest()] == [41, 20, 3]
    assert [edge.index for edge in Circuit(GRAPH, kept, -scores).strongest(2)] == [3, 20]
    assert [edge.index for edge in Circuit(GRAPH, kept).strongest()] == [3, 20, 41]


def test_a_circuit_keeps_its_own_copy() -> None:
    kept, mask = np.ones(46, bool), np.ones((2, 2), bool)
    circuit = Circuit(GRAPH, kept, weight_masks={"m0.in": mask})
    kept[:], mask[:] = False, False
    assert circuit.n_edges == 46
    assert circuit.n_weights == (4, 4)
    with pytest.raises(ValueError, match="read-only"):
        circuit.edge_mask[0] = False


@pytest.mark.parametrize("parallel", [False, True])
def test_edges_are_counted_without_making_them(parallel: bool) -> None:
    for layers, heads in ((1, 1), (1, 7), (5, 1), (3, 4), (12, 12), (30, 9)):
        graph = ComputationGraph(layers, heads, parallel)
        prefixes = sum(graph.n_sources_of(row) for row in range(graph.n_readers))
        assert graph.n_edges == prefixes == len(graph.rows)
    assert ComputationGraph(12, 12).n_edges == 32_491
    assert ComputationGraph(30, 9).n_edges == 123_211
    huge = ComputationGraph(10**6, 10**6, parallel)
    assert huge.n_edges > 10**24
    assert set(vars(huge)) == {"n_layers", "n_heads", "parallel", "joint_heads"}


def test_some_edges_are_made_without_the_others() -> None:
    graph = ComputationGraph(3, 2)
    every = graph.edges
    fresh = ComputationGraph(3, 2)
    assert fresh.edges_at([7, 0, 30]) == (every[7], every[0], every[30])
    assert fresh.edges_at([]) == ()
    assert "edges" not in vars(fresh)
