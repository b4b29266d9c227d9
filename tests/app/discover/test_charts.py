"""The curves take whatever a run has written so far."""

from __future__ import annotations

import numpy as np

from app.discover.charts import curves, losses
from app.explore.weights_chart import kept_weights
from discogp.circuits.circuit import Circuit
from discogp.circuits.graph import ComputationGraph
from discogp.circuits.sparsity import sparsity

EVENTS = [
    {"phase": "prepare", "message": "Loading", "elapsed": 0.1},
    {"phase": "edges", "step": 1, "densities": {"edges": 0.9, "weights": None}, "losses": {"sparsity": 2.0},
     "validation": None},
    {"phase": "edges", "step": 2, "densities": {"edges": 0.05}, "losses": {"sparsity": 1.0, "completeness": None},
     "validation": {"accuracy": 0.97, "complement_accuracy": 0.5}},
]  # fmt: skip


def test_accuracy_complement_and_density():
    figure = curves(EVENTS)
    assert {trace.name: (list(trace.x), list(trace.y)) for trace in figure.data} == {
        "circuit accuracy": ([2], [0.97]),
        "complement accuracy": ([2], [0.5]),
        "edges kept": ([1, 2], [0.9, 0.05]),
    }
    assert figure.layout.yaxis2.type == "log"


def test_losses():
    assert {trace.name: list(trace.y) for trace in losses(EVENTS).data} == {"sparsity": [2.0, 1.0]}


def test_nothing_yet():
    assert not curves([]).data
    assert not losses(EVENTS[:1]).data


def test_kept_weights_by_layer_and_component():
    masks = {
        "a0.q": np.eye(4, dtype=bool)[None],
        "m0.in": np.zeros((4, 8), bool),
        "m1.in": np.ones((4, 8), bool),
    }
    circuit = Circuit.full(ComputationGraph(2, 1), weight_masks=masks, searched="weights")
    (trace,) = kept_weights(sparsity(circuit)).data
    assert list(trace.x) == ["q", "in"]
    assert list(trace.y) == [0, 1]
    assert [list(row) for row in trace.text] == [["25 %", "0 %"], ["", "100 %"]]
    assert [[None if z is None else round(z, 3) for z in row] for row in trace.z] == [[-0.602, -1], [None, 0]]
