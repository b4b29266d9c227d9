"""The curves take whatever a run has written so far."""

from __future__ import annotations

from app.charts import curves, losses

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
