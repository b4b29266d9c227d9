"""A circuit of weights, written as a Hugging Face folder and read back by transformers, is the circuit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from discogp.circuits.artifact import save_circuit
from discogp.circuits.circuit import Circuit
from discogp.cli import main
from discogp.engine.masked_transformer import load_model
from discogp.engine.masks import weight_fields
from discogp.errors import ArtifactError
from discogp.evaluation.session import run_circuit
from discogp.export.huggingface import export_huggingface
from discogp.models.families.table import ARCHITECTURES
from tests.tiny_models import build_tiny, build_tiny_gpt2, build_tiny_llama


def a_circuit(folder: Path, share: float = 0.6) -> Circuit:
    model, rng = load_model(folder), np.random.default_rng(0)
    masks = {name: rng.random(tuple(tensor.shape)) < share for name, _, _, tensor in weight_fields(model.weights)}
    return Circuit.full(model.graph, weight_masks=masks, searched="weights", provenance={"model": str(folder)})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_transformers_gets_the_circuits_logits(architecture: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    source = build_tiny(architecture, tmp_path / "model")
    circuit = a_circuit(source)
    out = export_huggingface(circuit, tmp_path / "out")
    assert (out / "model.safetensors").is_file()
    tokens = torch.randint(1, 97, (3, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()(tokens).logits
    ours = run_circuit(load_model(source), circuit, tokens)
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
    full = load_model(source).logits(tokens)
    assert float((full - ours).abs().max()) > 0.1
    # Every entry of a mask, not only those that these prompts feel; and the folder is a model of ours again.
    for (name, _, _, kept), (_, _, _, before) in zip(
        weight_fields(load_model(out).weights), weight_fields(load_model(source).weights), strict=True
    ):
        assert circuit.weight_masks is not None
        assert torch.equal(kept, before * torch.from_numpy(circuit.weight_masks[name].copy())), name


def test_some_layers_masked_and_a_tokenizer_come_along(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    source = build_tiny_gpt2(tmp_path / "model", tokenizer=True)
    circuit = a_circuit(source)
    assert circuit.weight_masks is not None
    some = {name: mask for name, mask in circuit.weight_masks.items() if name.startswith("m1")}
    out = export_huggingface(replace(circuit, weight_masks=some), tmp_path / "out")
    before, after = load_model(source).weights, load_model(out).weights
    for (name, _, _, old), (_, _, _, new) in zip(weight_fields(before), weight_fields(after), strict=True):
        assert torch.equal(old, new) != name.startswith("m1"), name
    assert AutoTokenizer.from_pretrained(out)("w1 w2")["input_ids"] == [1, 2]
    note = json.loads((out / "discogp.json").read_text())
    assert note["model"] == str(source)


def test_a_circuit_that_drops_edges_is_refused(tmp_path: Path) -> None:
    source = build_tiny_gpt2(tmp_path / "model")
    circuit = a_circuit(source)
    edges = circuit.edge_mask.copy()
    edges[3] = False
    with pytest.raises(ArtifactError, match="plain weights cannot drop an edge"):
        export_huggingface(replace(circuit, edge_mask=edges), tmp_path / "out")
    with pytest.raises(ArtifactError, match="it is the model itself"):
        export_huggingface(replace(circuit, weight_masks=None), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_foreign_folders_are_left_alone_and_own_exports_replaced(tmp_path: Path) -> None:
    source = build_tiny_gpt2(tmp_path / "model")
    circuit = a_circuit(source)
    before = {file.name: file.read_bytes() for file in source.iterdir()}
    with pytest.raises(ArtifactError, match="holds other things"):
        export_huggingface(circuit, source)
    assert {file.name: file.read_bytes() for file in source.iterdir()} == before
    out = export_huggingface(circuit, tmp_path / "out")
    first = (out / "model.safetensors").read_bytes()
    export_huggingface(circuit.complement(), out)
    assert (out / "model.safetensors").read_bytes() != first
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model", "out"]


def test_the_command_writes_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = build_tiny_llama(tmp_path / "model")
    folder = save_circuit(a_circuit(source), tmp_path / "circuit")
    assert main(["export", str(folder), "--format", "hf", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "config.json").is_file()
    assert main(["export", str(folder), "--format", "hf", "--out", str(folder)]) == 1
    assert "left as it is" in capsys.readouterr().err
