"""The clock of a search, with a time of the test's own; and what a checkpoint must agree with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from discogp.engine.masked_transformer import load_model
from discogp.search import progress
from discogp.search.identity import identity
from discogp.search.progress import Clock
from tests.random_task import random_data
from tests.tiny_models import build_tiny_gpt2


def test_time_left_is_the_pace_of_the_phase_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    clock = Clock(total=30, began=100.0)
    clock.enter(0)
    now[0] = 110.0
    assert clock.times(5) == (10.0, 50.0)  # 2 s a step, 25 to go
    clock.enter(10)
    assert clock.times(10) == (10.0, 0.0)
    now[0] = 150.0
    assert clock.times(14) == (50.0, 160.0)  # 10 s a step, 16 to go


def test_all_that_decides_on_the_result_is_in_the_identity(tmp_path: Path) -> None:
    model = load_model(build_tiny_gpt2(tmp_path, n_layer=1))
    data = random_data(model)
    settings = {"seed": 0, "mask": "edges", "checkpoint_every": 50, "edges": {"steps": 3, "noise": 0.5}}
    first = identity(model, data, "discogp", settings)
    assert identity(model, data, "discogp", {**settings, "checkpoint_every": 1}) == first
    others = {
        "setting seed": identity(model, data, "discogp", {**settings, "seed": 1}),
        "setting mask": identity(model, data, "discogp", {**settings, "mask": "weights"}),
        "setting edges.noise": identity(model, data, "discogp", {**settings, "edges": {"steps": 3, "noise": 0.4}}),
        "train prompts": identity(model, replace(data, train=data.test), "discogp", settings),
        "validation prompts": identity(model, replace(data, validation=data.test), "discogp", settings),
        "task": identity(model, replace(data, task_name="another"), "discogp", settings),
    }
    for name, other in others.items():
        assert {key for key in first if first[key] != other.get(key)} == {name}
    assert identity(model, data, "random", settings) == {"method": "random", **first}
    fewer = data.train.tokens.clone()
    fewer[0, 0] += 1
    assert identity(model, replace(data, train=replace(data.train, tokens=fewer)), "discogp", settings) != first
