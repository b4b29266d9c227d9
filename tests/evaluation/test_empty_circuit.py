"""A circuit without edges, or one whose nodes have lost their inputs, is still a circuit: it answers from nothing."""

from __future__ import annotations

import pytest
import torch

from discogp import load_model
from discogp.circuits.circuit import Circuit
from discogp.engine.masks import edge_matrix
from discogp.evaluation.scorer import Scorer
from discogp.tasks import Example, Prompts
from tests.tiny_models import build_tiny_gpt2


@pytest.mark.parametrize("edges", [[], ["a0.h1->logits"], ["m0->a1.h0<q>", "a1.h0->logits"]])
def test_few_or_no_edges(tmp_path, edges):
    model = load_model(build_tiny_gpt2(tmp_path / "model"))
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]])
    example = Example("w1 w2 w3", None, (" w7",), (" w8",))
    ids = torch.tensor([[7], [8]])
    prompts = Prompts(tokens, torch.tensor([3, 3]), None, ids, ids + 1, (example, example))
    circuit = Circuit.from_edges(model.graph, edges)
    dense = model.masked(tokens, edge_matrix(model.graph, circuit.edge_mask), last=prompts.last)
    sparse = Scorer(model, prompts).outcome(circuit.edge_mask)
    assert torch.from_numpy(sparse.top_token).equal(dense.argmax(-1))
