"""A search ends once it has met its targets and no longer shrinks; continued, it ends where it would have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from discogp.discovery import discover
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.methods.discogp.search import Search
from discogp.methods.discogp.settings import EdgeConfig, SearchConfig, WeightConfig
from tests.random_task import random_data
from tests.tiny_models import build_tiny_gpt2

SEARCH = SearchConfig(
    batch_size=4,
    evaluations=10,
    checkpoint_every=1,
    target_accuracy=0.0,
    target_complement=1.0,
    patience=2,
    edges=EdgeConfig(steps=20, learning_rate=0.5, sparsity_peak=300.0, rise=0.0, completeness_share=0.5),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(build_tiny_gpt2(tmp_path_factory.mktemp("gpt2"), n_layer=2))


POLISHED = replace(SEARCH, edges=replace(SEARCH.edges, polish=5, polish_noise=0.0, polish_sparsity=0.0))


def settled(
    history: Sequence[tuple[str, bool, float]], patience: int, small_enough: float = 0.0, rise: float = 0.0
) -> bool:
    made = [{"phase": name, "meets_targets": met, "density": density} for name, met, density in history]
    search: Any = SimpleNamespace(history=made, config=SearchConfig(patience=patience, evaluations=10))
    phase: Any = SimpleNamespace(name="edges", config=EdgeConfig(target_density=small_enough, rise=rise))
    return Search._settled(search, phase)


CASES = {
    "too early": ([("edges", True, 0.1), ("edges", True, 0.1)], 2, False),
    "as often as asked": ([("edges", True, 0.1), ("edges", True, 0.1), ("edges", False, 0.1)], 2, True),
    "it shrinks on, though it fails": ([("edges", True, 0.1), ("edges", True, 0.1), ("edges", False, 0.05)], 2, False),
    "it has grown": ([("edges", True, 0.1), ("edges", True, 0.2), ("edges", False, 0.3)], 2, True),
    "it shrinks": ([("edges", True, 0.3), ("edges", True, 0.2), ("edges", True, 0.1)], 1, False),
    "by too little": ([("edges", True, 0.3), ("edges", True, 0.299)], 1, True),
    "targets never met": ([("edges", False, 0.3)] * 9, 2, False),
    "never": ([("edges", True, 0.3)] * 9, 0, False),
    "another phase's": ([("weights", True, 0.01)] * 9 + [("edges", True, 0.3)], 2, False),
}


@pytest.mark.parametrize(("history", "patience", "expected"), CASES.values(), ids=CASES)
def test_a_phase_has_settled(history: list[tuple[str, bool, float]], patience: int, expected: bool) -> None:
    assert settled(history, patience) is expected


@pytest.mark.parametrize(("evaluations", "expected"), [(5, False), (6, False), (7, True)])
def test_a_phase_does_not_settle_while_sparsity_is_still_being_pressed_harder(evaluations: int, expected: bool) -> None:
    assert settled([("edges", True, 0.1)] * evaluations, 2, rise=0.5) is expected
    assert settled([("weights", True, 0.1)] * 5 + [("edges", True, 0.1)] * evaluations, 2, rise=0.5) is expected


SMALL = {
    "small enough": ([("edges", True, 0.03)], True),
    "once was": ([("edges", True, 0.02), ("edges", False, 0.01)], True),
    "still too large": ([("edges", True, 0.031)], False),
    "small, but fails": ([("edges", True, 0.2), ("edges", False, 0.01)], False),
    "another phase's": ([("weights", True, 0.01), ("edges", True, 0.2)], False),
}


@pytest.mark.parametrize(("history", "expected"), SMALL.values(), ids=SMALL)
def test_a_phase_has_found_a_circuit_small_enough(history: list[tuple[str, bool, float]], expected: bool) -> None:
    for patience in (0, 4):
        assert settled(history, patience, small_enough=0.03) is expected


def test_a_search_ends_early_and_says_how_many_steps_it_took(model: MaskedTransformer) -> None:
    data = random_data(model)
    events = list(discover(model, data, SEARCH))
    taken = events[-1].step
    assert taken < 20
    assert events[-1].total_steps == taken
    assert [event.step for event in events[:-1]] == list(range(1, taken + 1))
    assert events[-1].circuit is not None
    every = list(discover(model, data, replace(SEARCH, patience=0)))
    assert every[-1].step == 20
    for early, late in zip(events[:-1], every, strict=False):
        assert early.losses == late.losses


def test_a_continued_search_ends_where_it_would_have(model: MaskedTransformer, tmp_path: Path) -> None:
    data, file = random_data(model), tmp_path / "search"
    whole = list(discover(model, data, SEARCH))
    for event in discover(model, data, SEARCH, checkpoint=file):
        if event.step == whole[-1].step - 1:
            break
    rest = list(discover(model, data, SEARCH, checkpoint=file, resume=True))
    assert rest[-1].step == rest[-1].total_steps == whole[-1].step
    assert rest[-1].circuit is not None
    assert whole[-1].circuit is not None
    assert np.array_equal(rest[-1].circuit.edge_mask, whole[-1].circuit.edge_mask)


def test_a_settled_circuit_is_polished(model: MaskedTransformer) -> None:
    data = random_data(model)
    plain, polished = list(discover(model, data, SEARCH)), list(discover(model, data, POLISHED))
    settled_at = plain[-1].step
    assert [event.step for event in polished[:-1]] == list(range(1, settled_at + 6))
    assert polished[settled_at - 1].total_steps == polished[-1].step == settled_at + 5
    assert [event.losses for event in polished[:settled_at]] == [event.losses for event in plain[:-1]]
    circuit = polished[-1].circuit
    assert circuit is not None
    # Ten evaluations in twenty steps, so every second step of the polish, and its last.
    assert [one["step"] - settled_at for one in circuit.provenance["history"]][-3:] == [2, 4, 5]


def test_what_never_settles_is_polished_after_all_steps(model: MaskedTransformer) -> None:
    events = list(discover(model, random_data(model), replace(POLISHED, patience=0)))
    assert events[-1].step == events[-1].total_steps == 25


@pytest.mark.parametrize("before_end", [0, 1, 4, 5, 6])
def test_a_polish_is_continued_where_it_was(model: MaskedTransformer, tmp_path: Path, before_end: int) -> None:
    data, file = random_data(model), tmp_path / "search"
    whole = list(discover(model, data, POLISHED))
    for event in discover(model, data, POLISHED, checkpoint=file):
        if event.step == whole[-1].step - before_end:
            break
    rest = list(discover(model, data, POLISHED, checkpoint=file, resume=True))
    assert [(e.step, e.total_steps, e.losses) for e in rest] == [
        (e.step, e.total_steps, e.losses) for e in whole[-len(rest) :]
    ]
    assert len(rest) == before_end + 1
    assert rest[-1].circuit is not None
    assert whole[-1].circuit is not None
    assert np.array_equal(rest[-1].circuit.edge_mask, whole[-1].circuit.edge_mask)


def test_steps_of_both_phases_are_counted_after_the_first_has_settled(model: MaskedTransformer) -> None:
    weights = WeightConfig(steps=20, learning_rate=0.5, polish=2, target_density=0.99)
    search = replace(POLISHED, mask="both", weights=weights)
    events = list(discover(model, random_data(model), search))
    last = {event.phase: event.step for event in events}
    assert last["weights"] < 22
    assert events[last["weights"] - 1].total_steps == last["weights"] + 25
    assert events[-1].step == events[-1].total_steps
