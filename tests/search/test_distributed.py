"""Two processes with half the batch each find the circuit that one finds with the whole batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from discogp.circuits.artifact import load_circuit
from discogp.discovery import discover
from discogp.engine.masked_transformer import load_model
from discogp.methods.discogp.settings import EdgeConfig, SearchConfig, WeightConfig, config_to_dict
from discogp.search.distributed import Processes
from tests.places import ROOT
from tests.random_task import random_data
from tests.tiny_models import build_tiny_gpt2

PHASE = EdgeConfig(steps=4, learning_rate=0.05, attribution_span=2.0, sparsity_peak=300.0)
WEIGHTS = WeightConfig(steps=4, learning_rate=0.05, sparsity_peak=300.0)


@pytest.mark.parametrize("mask", ["edges", "both"])
def test_two_processes_find_the_circuit_of_one(tmp_path: Path, mask: str) -> None:
    folder, out = build_tiny_gpt2(tmp_path / "model"), tmp_path / "circuit"
    search = SearchConfig(mask=mask, batch_size=5, evaluations=2, edges=PHASE, weights=WEIGHTS)  # type: ignore[arg-type]
    asked = {"model": str(folder), "config": config_to_dict(search), "out": str(out)}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*torchrun, "-m", "tests.search_process", json.dumps(asked)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=400,
    )
    model = load_model(folder)
    alone = list(discover(model, random_data(model), search))[-1].circuit
    assert alone is not None
    together = load_circuit(out)
    np.testing.assert_array_equal(together.edge_mask, alone.edge_mask)
    if mask == "edges":
        assert together.edge_scores is not None
        assert alone.edge_scores is not None
        np.testing.assert_allclose(together.edge_scores, alone.edge_scores, atol=1e-4)
        other = list(discover(model, random_data(model), replace(search, seed=1)))[-1].circuit
        assert other is not None
        assert other.edge_scores is not None
        assert np.abs(other.edge_scores - alone.edge_scores).max() > 0.01, "circuits do not all look the same"
    for name, mask_together in (together.weight_masks or {}).items():
        np.testing.assert_array_equal(mask_together, (alone.weight_masks or {})[name])


@pytest.mark.parametrize(("n", "size"), [(16, 2), (5, 2), (2, 3), (0, 2)])
def test_parts_are_the_batch(n: int, size: int) -> None:
    parts = [list(Processes(rank, size).part(range(n))) for rank in range(size)]
    assert [place for part in parts for place in part] == list(range(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
