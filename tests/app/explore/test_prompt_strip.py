"""When a prompt's own figures of an edit are asked for: at once of a small model, after the click's of a large one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.explore import prompt_strip
from app.explore.prompt_strip import _ascending, _comes_later
from discogp.circuits.circuit import Circuit
from discogp.circuits.graph import ComputationGraph

OFF = frozenset({"m0"})


class Workbench:
    def __init__(self, graph: ComputationGraph) -> None:
        self.session = type("Session", (), {"base": Circuit.from_edges(graph, ["input->m0"])})
        self.said: set[tuple[Any, frozenset[str]]] = {(0, frozenset())}

    def has_said(self, prompt: Any, names: Any) -> bool:
        return (prompt, frozenset(names)) in self.said


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    monkeypatch.setattr(prompt_strip.session, "state", lambda: kept)
    return kept


def later(workbench: Any, prompt: Any = 0, names: frozenset[str] = OFF) -> bool:
    return _comes_later("x", workbench, prompt, names)


def test_of_a_small_model_at_once() -> None:
    assert not later(Workbench(ComputationGraph(2, 2)))


def test_of_a_large_model_in_the_next_run_of_this_part_and_anew_after_another_click() -> None:
    large = Workbench(ComputationGraph(12, 12))
    assert not later(large, names=frozenset()), "nothing is off"
    assert [later(large), later(large)] == [True, False]
    large.said.add((0, OFF))
    assert not later(large), "it is known"
    assert [later(large, names=frozenset({"m1"})), later(large, names=frozenset({"m1"}))] == [True, False]
    assert not later(large, prompt=3), "of another prompt nothing is known, so there is nothing to show meanwhile"


def test_the_hardest_come_first_and_ties_as_listed() -> None:
    assert _ascending(np.array([2.0, -1.0, 2.0, 0.5])) == [1, 3, 0, 2]
