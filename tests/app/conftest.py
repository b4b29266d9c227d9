"""A home folder and an example circuit of a test's own, so that pages run without a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import streamlit as st

from discogp import paths
from discogp.circuits.artifact import save_circuit
from discogp.circuits.circuit import Circuit
from discogp.circuits.graph import ComputationGraph

METRICS = {
    name: {"accuracy": accuracy, "top1": 0.5, "kl": 0.25, "logit_diff": 1.5, "n": 8}
    for name, accuracy in (("full", 1.0), ("circuit", 0.875), ("complement", 0.5))
}


@pytest.fixture
def example() -> Circuit:
    """A circuit whose model does not exist: it can be looked at, not run."""
    graph = ComputationGraph(2, 3)
    scores = np.random.default_rng(0).normal(size=graph.n_edges).astype(np.float32)
    made = {"model": "no-such-model", "task": "ioi", "seed": 0, "metrics": METRICS}
    return Circuit(graph, scores > 0, scores, provenance=made)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: Circuit) -> Path:
    """Also the assets folder: one example, no model."""
    monkeypatch.setenv("DISCOGP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(paths, "assets", lambda: tmp_path / "assets")
    save_circuit(example, tmp_path / "assets" / "examples" / "mini-ioi-edges")
    st.cache_resource.clear()
    return tmp_path / "home"
