"""Sparse runs, fresh and incremental, against the dense masked pass; late nodes; what is computed again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from discogp import load_model
from discogp.circuits.circuit import Circuit
from discogp.engine import sparse_pass
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.engine.masks import edge_matrix
from discogp.engine.sparse_pass import SparseRunner, sparse_logits
from discogp.engine.sparse_plan import Plan, Work
from tests.tiny_models import build_tiny_gpt2, build_tiny_llama

HEADS = ("input->a0.h0<q>", "input->a0.h0<k>", "input->a0.h0<v>", "a0.h0->m0", "m0->a1.h1<k>", "input->a1.h1<q>")
LATE = ("a0.h0->m1", "m0->m1", "m1->m2", "m1->logits", "m2->logits", "a1.h1->logits", "input->a1.h1<v>")
TOKENS = torch.randint(0, 97, (4, 6), generator=torch.Generator().manual_seed(0))
OTHER = torch.randint(0, 97, (4, 6), generator=torch.Generator().manual_seed(1))
LAST = torch.tensor([5, 2, 4, 0])


@pytest.fixture(scope="module", params=[build_tiny_gpt2, build_tiny_llama], ids=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(request.param(tmp_path_factory.mktemp("model")))


def runner(model: MaskedTransformer, ablation: str = "zero") -> SparseRunner:
    replacement = model.replacement(ablation, TOKENS, OTHER)
    return SparseRunner(model.graph, model.folded, TOKENS, LAST, replacement)


def check(model: MaskedTransformer, on: SparseRunner, final: torch.Tensor, kept: np.ndarray) -> None:
    mask = edge_matrix(model.graph, kept)
    dense = model.masked(TOKENS, mask, last=LAST, replacement=on.replacement)
    torch.testing.assert_close(model.folded.unembed(final), dense, atol=1e-4, rtol=0)


def late(model: MaskedTransformer, names: tuple[str, ...]) -> list[str]:
    plan = Plan.of(model.graph, Circuit.from_edges(model.graph, names).edge_mask)
    return [model.graph.sources[column] for column in sorted(plan.late)]


def test_late_nodes(model):
    assert late(model, HEADS + LATE) == ["a1.h1", "m1", "m2"]
    last = ("input->a2.h0<k>", "input->a2.h0<v>", "a2.h0->logits")
    assert late(model, (*HEADS, *LATE, *last, "m1->a2.h0<q>")) == ["a1.h1", "m1", "a2.h0", "m2"], (
        "a late head's query is read at its own position"
    )
    assert late(model, (*HEADS, *LATE, *last, "m1->a2.h0<k>")) == ["a1.h1", "a2.h0", "m2"], (
        "a key is read at later positions"
    )
    assert late(model, HEADS) == []
    for names in (HEADS + LATE, LATE, ("input->m0", "m0->m2", "m2->logits")):
        kept = Circuit.from_edges(model.graph, names).edge_mask
        dense = model.masked(TOKENS, edge_matrix(model.graph, kept), last=LAST)
        sparse = sparse_logits(model.graph, model.folded, kept, TOKENS, LAST)
        torch.testing.assert_close(sparse, dense, atol=1e-4, rtol=0)


def test_constant_nodes(model):
    """What queries and keys read is dead where values do not depend on the prompt; queries are, where keys do not."""
    graph, rotary = model.graph, model.weights.layers[0].attention.rotary is not None
    scores = ("input->m0", "m0->a1.h0<q>", "input->a1.h0<k>")
    chain = (*scores, "a1.h0->m1", "m1->a2.h2<v>", "a2.h2->logits", "a0.h1->logits")
    on = runner(model)

    def plan(names: tuple[str, ...], ablation: str = "zero") -> Plan:
        kept = Circuit.from_edges(graph, names).edge_mask
        check(model, runner(model, ablation), runner(model, ablation).run(kept).final, kept)
        return runner(model, ablation).plan(kept)

    def names(columns: frozenset[int]) -> set[str]:
        return {graph.sources[column] for column in columns}

    dead = plan(chain)
    assert names(dead.live) == names(dead.constant) == {"a0.h1", "a1.h0", "m1", "a2.h2"}
    assert names(plan(chain, "mean").constant) == names(dead.constant)
    assert not plan(chain, "resample").constant
    assert names(plan((*chain, "input->a1.h0<v>")).constant) == {"a0.h1"}
    query = plan(("m0->a1.h0<q>", "input->m0", "input->a1.h0<v>", "a1.h0->logits"))
    assert ("m0" in names(query.live)) == rotary
    assert on.run(Circuit.from_edges(graph, chain).edge_mask).everywhere[graph.mlp_column(1)].shape == (1, 32)


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
@pytest.mark.parametrize("density", [0.0, 0.03, 0.1, 0.3, 1.0])
def test_incremental_runs_are_exact(model, ablation, density, monkeypatch):
    """Edges off and on again, several at once, nodes, sequences: each from the same base and from the last state."""
    monkeypatch.setattr(sparse_pass, "_SUMS_PER_NODE", 1000)  # never the way out of a fresh run
    on, graph = runner(model, ablation), model.graph
    rng = np.random.default_rng(round(100 * density))
    base_mask = rng.random(graph.n_edges) < density
    base = previous = on.run(base_mask)
    check(model, on, base.final, base_mask)
    before = {column: x.clone() for column, x in base.everywhere.items()}
    kept = base_mask.copy()
    for step in range(12):
        if step % 4 == 3:
            node = graph.nodes[rng.integers(len(graph.nodes))].name
            kept[graph.incident(node)] = step % 8 == 3
        else:
            flipped = rng.integers(graph.n_edges, size=1 + step % 3)
            kept[flipped] = ~kept[flipped]
        check(model, on, on.run(kept, base).final, kept)
        previous = on.run(kept, previous)
        check(model, on, previous.final, kept)
    check(model, on, on.run(base_mask, previous).final, base_mask)
    for column, x in before.items():
        assert base.everywhere[column].equal(x), "a run changed the state it was based on"


def test_every_single_edge_of_a_circuit(model):
    on, graph = runner(model), model.graph
    base_mask = np.random.default_rng(5).random(graph.n_edges) < 0.12
    base = on.run(base_mask)
    for edge in np.flatnonzero(base_mask):
        kept = base_mask.copy()
        kept[edge] = False
        check(model, on, on.run(kept, base).final, kept)


def test_dead_nodes_come_back(model):
    """The one edge that carried a chain goes and returns; so does one whose chain was never computed."""
    on, graph = runner(model), model.graph
    chain = Circuit.from_edges(graph, ["input->a0.h0<v>", "a0.h0->m1", "m1->a2.h1<v>", "a2.h1->logits"])
    without = chain.without(["a2.h1->logits"]).edge_mask
    base, dead = on.run(chain.edge_mask), on.run(without)
    assert not dead.plan.live
    check(model, on, on.run(without, base).final, without)
    check(model, on, on.run(chain.edge_mask, dead).final, chain.edge_mask)


def test_only_what_lies_downstream_is_computed(model):
    graph = model.graph
    names = ["input->a0.h0<v>", "input->a0.h1<v>", "a0.h0->m1", "a0.h1->logits", "m1->logits"]
    circuit = Circuit.from_edges(graph, names)

    def nodes(off: str) -> set[str]:
        plan = Plan.of(graph, circuit.without([off]).edge_mask)
        work = Work.of(graph, plan, Plan.of(graph, circuit.edge_mask))
        return {graph.sources[column] for column in work.columns}

    assert nodes("a0.h0->m1") == {"m1"}, "a0.h0 is dead now, and m1 reads nothing"
    assert nodes("m1->logits") == set()
    assert nodes("a0.h1->logits") == set()
    assert Work.of(graph, Plan.of(graph, circuit.edge_mask), None).columns == {0, 1, 2, 10}
    assert nodes("input->a0.h1<v>") == {"a0.h1"}
    assert nodes("input->a0.h0<v>") == {"a0.h0", "m1"}


def test_a_wide_change_falls_back_to_a_fresh_run(model, monkeypatch):
    monkeypatch.setattr(sparse_pass, "_SUMS_PER_NODE", 0)
    on, kept = runner(model), np.ones(model.graph.n_edges, dtype=bool)
    base = on.run(kept)
    kept[3] = False
    check(model, on, on.run(kept, base).final, kept)
