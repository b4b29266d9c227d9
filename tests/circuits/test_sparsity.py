"""Where weights are kept, counted by hand on small masks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from discogp.circuits.artifact import load_circuit, save_circuit
from discogp.circuits.circuit import Circuit
from discogp.circuits.graph import ComputationGraph
from discogp.circuits.sparsity import Count, sparsity
from discogp.cli import main
from discogp.errors import ArtifactError, ConfigError
from tests.damage import as_older


def a_circuit() -> Circuit:
    """Width 2, three neurons, one head; of layer 0 the MLP is masked, of layer 1 only the queries."""
    masks = {
        "m0.in": np.array([[1, 0, 1], [1, 0, 0]], bool),
        "m0.in.bias": np.array([1, 0, 0], bool),
        "m0.out": np.array([[1, 1], [0, 0], [0, 1]], bool),
        "m0.out.bias": np.array([1, 0], bool),
        "a1.q": np.array([[[1], [0]]], bool),
    }
    return Circuit.full(ComputationGraph(2, 1), weight_masks=masks, searched="weights", unmasked_weights=13)


def test_counts_per_component_layer_and_neuron() -> None:
    found = sparsity(a_circuit())
    assert found.counts[0, "in"] == Count(3, 6)
    assert found.counts[1, "q"] == Count(1, 2)
    assert found.layer(0) == Count(8, 17)
    assert found.components == ["q", "in", "in.bias", "out", "out.bias"]
    np.testing.assert_allclose(found.neurons[0], [5 / 5, 0, 2 / 5])
    assert list(found.neurons) == [0]
    data = found.to_json(neurons=True)
    assert data["layers"][0]["neurons"] == [1.0, 0.0, 0.4]
    assert "neurons" not in found.to_json()["layers"][0]


def test_weights_that_were_not_searched_count_as_kept() -> None:
    circuit = a_circuit()
    assert circuit.searched_weight_density == pytest.approx(9 / 19)
    assert circuit.weight_density == pytest.approx((9 + 13) / (19 + 13))
    assert circuit.complement().weight_density == pytest.approx((10 + 13) / (19 + 13))


def test_what_was_not_searched_is_saved_with_the_circuit(tmp_path: Path) -> None:
    folder = save_circuit(a_circuit(), tmp_path / "circuit")
    assert load_circuit(folder).unmasked_weights == 13
    file = folder / "circuit.json"
    document = json.loads(file.read_text())
    assert document["weights"]["density_of_searched"] == pytest.approx(9 / 19)
    for wrong in (-1, True, "many"):
        document["weights"]["unmasked"] = wrong
        file.write_text(json.dumps(document))
        with pytest.raises(ArtifactError, match="unmasked"):
            load_circuit(folder)

    def as_before(document: dict) -> None:
        document["weights"] = {"masks": document["weights"]["masks"], "density": 9 / 19}

    assert load_circuit(as_older(folder, as_before)).unmasked_weights == 0


def test_a_circuit_of_edges_has_no_sparsity_of_weights() -> None:
    with pytest.raises(ConfigError, match="keeps every weight"):
        sparsity(Circuit.full(ComputationGraph(2, 1)))


def test_the_command_prints_a_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(save_circuit(a_circuit(), tmp_path / "circuit"))
    assert main(["sparsity", folder]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["layer", "all", "q", "in", "in.bias", "out", "out.bias"]
    assert table[2].split() == ["1", "50.00%", "50.00%", "–", "–", "–", "–"]
    assert table[-1] == "68.75% of the weights, 47.37% of those searched"
    assert main(["sparsity", folder, "--json", "--neurons"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][0]["components"]["in"]["kept"] == 3
    assert main(["sparsity", folder, "--neurons"]) == 1
    assert "--json" in capsys.readouterr().err
