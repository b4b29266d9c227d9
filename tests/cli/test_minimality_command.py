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
