"""The sentence above a circuit says what its figures say, and no more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from discogp.circuits.circuit import Circuit
from discogp.circuits.describe import sentence
from discogp.circuits.graph import ComputationGraph

GRAPH = ComputationGraph(n_layers=2, n_heads=2)


def told(full: float | None = 0.995, alone: float | None = 0.99, rest: float | None = 0.5, **changes: Any) -> str:
    given = {"full": full, "circuit": alone, "complement": rest}
    metrics = {part: {"accuracy": value} for part, value in given.items() if value is not None}
    about = {"model": "/models/gpt2/", "task": "ioi", "metrics": metrics, **changes}
    return sentence(Circuit.from_edges(GRAPH, ["input->m0", "m0->logits"], provenance=about)).replace("\u00a0", " ")


def test_a_circuit_that_is_enough() -> None:
    assert told() == (
        f"These 2 of {GRAPH.n_edges} connections of gpt2 are enough for the task ioi: alone, they are right on 99.0 % "
        "of the test prompts, the full model on 99.5 %, and all the rest without them on 50.0 %."
    )


def test_one_that_is_not_is_not_called_so() -> None:
    for text in (told(alone=0.96), told(full=None)):
        assert "enough" not in text
        assert "are the circuit for the task ioi" in text
    assert "enough" in told(full=0.6, alone=0.59)


def test_without_figures_there_are_none_in_it() -> None:
    bare = told(full=None, alone=None, rest=None, task=None, model=None)
    assert bare == f"These 2 of {GRAPH.n_edges} connections of the model are the circuit."
    assert "99.0 % of the validation prompts" in told(split="validation")
    assert told(rest=None).endswith("the full model on 99.5 %.")


def test_weights() -> None:
    circuit = Circuit.from_edges(GRAPH, ["input->m0"])
    masks = {"blocks.0.mlp.W_in": np.arange(8) < 2}
    sheaf = replace(circuit, weight_masks=masks, searched="both")
    assert "connections, with 25 % of the weights, of the model" in sentence(sheaf)
    assert sentence(replace(sheaf, searched="weights")).startswith("These 25 % of the weights of the model")
