"""The table of architectures: shown everywhere the same, and each row goes the whole way from a folder to a circuit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from discogp.circuits.circuit import Circuit
from discogp.cli import main
from discogp.discovery import discover
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.engine.masks import edge_matrix
from discogp.engine.sparse_pass import sparse_logits
from discogp.evaluation.scorer import evaluate
from discogp.methods.discogp.settings import EdgeConfig, SearchConfig, WeightConfig
from discogp.models.families.table import ARCHITECTURES
from tests.places import ROOT
from tests.random_task import random_data
from tests.tiny_models import build_tiny

README = ROOT / "README.md"


def test_the_readme_shows_the_table() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    start = lines.index("| Family | Class | |")
    shown = lines[start + 2 : start + 2 + len(ARCHITECTURES) + 1]
    rows = [f"| {row.family} | `{row.name}` | {row.note} |" for row in ARCHITECTURES.values()]
    assert shown == [*rows, ""]


def test_the_command_line_shows_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "list"])
    text = capsys.readouterr().out
    main(["models", "list", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert [row["architecture"] for row in data["families"]] == list(ARCHITECTURES)
    assert "mini" in {row["name"] for row in data["models"]}
    for row in ARCHITECTURES.values():
        assert any(row.name in line and row.note in line for line in text.splitlines())


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(build_tiny(request.param, tmp_path_factory.mktemp("tiny") / "model", tokenizer=True))


def test_search_and_evaluation(model: MaskedTransformer) -> None:
    data = random_data(model)
    before = {name: t.clone() for layer in model.weights.layers for name, t in layer.named_tensors()}
    weights, edges = WeightConfig(steps=2, learning_rate=0.5), EdgeConfig(steps=2, learning_rate=0.5)
    search = SearchConfig(mask="both", batch_size=4, evaluations=1, weights=weights, edges=edges)
    events = list(discover(model, data, search))
    circuit = events[-1].circuit
    assert circuit is not None
    result = evaluate(model, circuit, data.test)
    assert np.isfinite([result.circuit.kl, result.complement.kl]).all()
    assert evaluate(model, Circuit.full(model.graph), data.test).circuit.kl < 1e-6
    after = {name: t for layer in model.weights.layers for name, t in layer.named_tensors()}
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_norm_behind_attention_hears_heads_that_nobody_reads(tmp_path: Path) -> None:
    """So their edges count as leading to the logits, and the sparse pass must not skip them."""
    model = load_model(build_tiny("Gemma2ForCausalLM", tmp_path / "model"))
    heard = ["input->a0.h0<q>", "input->a0.h0<k>", "input->a0.h0<v>", "a0.h0->logits", "input->logits"]
    unread = [name.replace("h0", "h1") for name in heard[:3]]
    tokens, last = torch.tensor([[5, 9, 33, 7, 61]]), torch.tensor([4])
    found = []
    for names in (heard, heard + unread):
        circuit = Circuit.from_edges(model.graph, names)
        dense = model.masked(tokens, edge_matrix(model.graph, circuit.edge_mask), last=last)
        sparse = sparse_logits(model.graph, model.folded, circuit.edge_mask, tokens, last)
        torch.testing.assert_close(sparse, dense, atol=1e-5, rtol=0)
        np.testing.assert_array_equal(model.graph.reaching_logits(circuit.edge_mask), circuit.edge_mask)
        found.append(dense)
    assert (found[0] - found[1]).abs().max() > 1e-3
