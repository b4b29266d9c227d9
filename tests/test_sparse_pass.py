"""MLPs that are computed at the last position alone give the same logits as when computed everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from discogp import load_model
from discogp.circuit import Circuit
from discogp.masks import edge_matrix
from discogp.sparse_pass import _late_mlps, sparse_logits
from tests.tiny_models import build_tiny_gpt2, build_tiny_llama

HEADS = ("input->a0.h0<q>", "input->a0.h0<k>", "input->a0.h0<v>", "a0.h0->m0", "m0->a1.h1<k>", "input->a1.h1<q>")
LATE = ("a0.h0->m1", "m0->m1", "m1->m2", "m1->logits", "m2->logits", "a1.h1->logits", "input->a1.h1<v>")


def columns(graph, names: tuple[str, ...]) -> list[int]:
    circuit = Circuit.from_edges(graph, names)
    matrix = np.zeros((graph.n_readers, graph.n_sources), dtype=np.float32)
    matrix[graph.rows[circuit.edge_mask], graph.columns[circuit.edge_mask]] = 1
    return [graph.sources[column] for column in _late_mlps(graph, matrix)]


@pytest.mark.parametrize("build", [build_tiny_gpt2, build_tiny_llama])
def test_late_mlps(tmp_path, build):
    model = load_model(build(tmp_path / "model"))
    assert columns(model.graph, HEADS + LATE) == ["m1", "m2"]
    assert columns(model.graph, (*HEADS, *LATE, "m1->a2.h0<q>")) == ["m2"], "a head carries it to other positions"
    assert columns(model.graph, HEADS) == []
    tokens = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 7]])
    last = torch.tensor([3, 1])
    for names in (HEADS + LATE, LATE, ("input->m0", "m0->m2", "m2->logits")):
        circuit = Circuit.from_edges(model.graph, names)
        dense = model.masked(tokens, edge_matrix(model.graph, circuit.edge_mask), last=last)
        sparse = sparse_logits(model.graph, model.folded, circuit.edge_mask, tokens, last)
        torch.testing.assert_close(sparse, dense, atol=1e-4, rtol=0)
