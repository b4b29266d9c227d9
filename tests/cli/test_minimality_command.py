"""`minimality` on a shipped circuit: every edge, sorted, with the summary."""

from __future__ import annotations

import json

from discogp import load_circuit
from discogp.cli import main
from discogp.paths import assets


def test_minimality_of_an_example(capsys):
    folder = assets() / "examples" / "mini-ioi-both"
    assert main(["minimality", str(folder), "--split", "validation", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    changes = [edge["change"] for edge in data["edges"]]
    assert len(changes) == data["n_edges"] == load_circuit(folder).n_edges
    assert changes == sorted(changes, reverse=True)
    assert data["n_idle"] == sum(edge["idle"] for edge in data["edges"])
    assert data["minimality"] == 1 - data["n_idle"] / data["n_edges"]
    assert data["split"] == "validation"


def test_a_senseless_number_of_edges_is_refused(capsys):
    assert main(["minimality", str(assets() / "examples" / "mini-ioi-both"), "--top", "0"]) == 1
    assert "--top is 0" in capsys.readouterr().err


def test_a_sample_says_how_much_it_tells(capsys):
    folder = str(assets() / "examples" / "mini-ioi-both")
    command = ["minimality", folder, "--split", "validation", "--json", "--sample"]
    assert main([*command, "8", "--sample-seed", "3"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["n_measured"], data["seed"]) == (len(data["edges"]), 3) == (8, 3)
    assert data["n_edges"] == load_circuit(folder).n_edges > 8
    assert data["minimality"] == 1 - data["n_idle"] / 8
    low, high = data["interval_95"]
    assert 0 <= low < data["minimality"] < high <= 1 or data["minimality"] in (low, high)
    assert main([*command, "9999"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["interval_95"] is None
    assert data["n_measured"] == data["n_edges"]


def test_a_sample_of_nothing_is_refused(capsys):
    assert main(["minimality", str(assets() / "examples" / "mini-ioi-both"), "--sample", "0"]) == 1
    assert "--sample is 0" in capsys.readouterr().err
