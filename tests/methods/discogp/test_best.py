"""Which of the scored circuits a search returns: least shortfall from its targets first, then the sparsest."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from discogp.discovery import discover
from discogp.engine.masked_transformer import load_model
from discogp.evaluation.outcome import Evaluation, Metrics
from discogp.evaluation.scorer import evaluate
from discogp.methods.discogp.edge_phase import EdgePhase
from discogp.methods.discogp.phase import Thresholded
from discogp.methods.discogp.search import _Best, _Order
from discogp.methods.discogp.settings import EdgeConfig, SearchConfig, WeightConfig
from discogp.methods.discogp.weight_phase import WeightPhase
from tests.random_task import random_data
from tests.tiny_models import build_tiny_gpt2

FULL_ACCURACY = 0.5
SEARCH = SearchConfig(target_accuracy=0.5, target_complement=0.25)  # so a circuit needs an accuracy of 0.25


@dataclass(frozen=True)
class Offer:
    accuracy: float
    complement: float
    density: float
    kl: float = 1.0


FAITHFUL = Offer(0.25, 0.25, 0.5)  # both targets just reached
CASES: dict[str, tuple[list[Offer], int]] = {
    "one is the best of one, whatever it is": ([Offer(0.0, 1.0, 1.0, 99.0)], 0),
    "the sparsest of those that reach the targets": ([FAITHFUL, replace(FAITHFUL, density=0.25), FAITHFUL], 1),
    "a sparser one that is not accurate enough is not": ([FAITHFUL, Offer(0.125, 0.25, 0.001)], 0),
    "a denser one that is accurate enough is": ([Offer(0.125, 0.25, 0.001), FAITHFUL], 1),
    "a sparser one whose complement is too accurate is not": ([FAITHFUL, Offer(0.25, 0.375, 0.001)], 0),
    "a denser one whose complement fails is": ([Offer(0.25, 0.375, 0.001), FAITHFUL], 1),
    "more accuracy than needed earns nothing": ([FAITHFUL, Offer(1.0, 0.25, 0.75)], 0),
    "a complement that fails more than needed earns nothing": ([FAITHFUL, Offer(0.25, 0.0, 0.75)], 0),
    "what accuracy has too much does not make up for the complement": ([FAITHFUL, Offer(1.0, 0.5, 0.001)], 0),
    "where none is accurate enough, the nearest": ([Offer(0.0, 0.25, 0.001), Offer(0.125, 0.25, 0.9)], 1),
    "where no complement fails, the nearest": ([Offer(0.25, 0.75, 0.001), Offer(0.25, 0.5, 0.9)], 1),
    "both shortfalls count, and add up": ([Offer(0.125, 0.375, 0.1), Offer(0.25, 0.4375, 0.9)], 1),
    "equally dense, the one nearer to the model": ([FAITHFUL, replace(FAITHFUL, kl=0.5)], 1),
    "one sparser by a hair that says something else is not": (
        [Offer(0.25, 0.25, 0.0704, 0.268), Offer(0.25, 0.25, 0.0678, 0.863)],
        0,
    ),
    "one much sparser is": ([Offer(0.25, 0.25, 0.5, 0.0), Offer(0.25, 0.25, 0.1, 1.0)], 1),
    "a tenth of a nat is a tenth of the edges": ([Offer(0.25, 0.25, 0.5, 0.1), Offer(0.25, 0.25, 0.56, 0.0)], 0),
    "and not more": ([Offer(0.25, 0.25, 0.5, 0.1), Offer(0.25, 0.25, 0.54, 0.0)], 1),
    "a divergence without bounds is the worst": ([replace(FAITHFUL, kl=math.inf), replace(FAITHFUL, kl=9.0)], 1),
    "so is one that is no number": ([replace(FAITHFUL, kl=math.nan), replace(FAITHFUL, kl=9.0)], 1),
    "of equals the first": ([FAITHFUL, FAITHFUL], 0),
    "the third of four": ([Offer(0.0, 1.0, 0.1), FAITHFUL, replace(FAITHFUL, density=0.375), Offer(0.25, 0.5, 0.1)], 2),
}


def evaluation(offer: Offer) -> Evaluation:
    metrics = [
        Metrics(accuracy, top1=0.0, kl=kl, logit_diff=0.0, n=8)
        for accuracy, kl in ((FULL_ACCURACY, 0.0), (offer.accuracy, offer.kl), (offer.complement, 7.0))
    ]
    return Evaluation(*metrics, edge_density=0.9, weight_density=0.9, n_edges=1)


@pytest.mark.parametrize(("offers", "expected"), CASES.values(), ids=CASES)
def test_the_best_is_chosen_by_the_rule(offers: list[Offer], expected: int) -> None:
    best = _Best()
    candidates = [Thresholded(np.zeros(1, dtype=bool), None, None) for _ in offers]
    for step, (offer, thresholded) in enumerate(zip(offers, candidates, strict=True), start=1):
        best.offer(thresholded, evaluation(offer), offer.density, SEARCH, step)
    assert best.thresholded is candidates[expected]
    assert best.step == expected + 1


def test_the_best_of_a_search_for_the_task_alone_is_the_sparsest_whatever_its_divergence() -> None:
    search, best = replace(SEARCH, objective="task"), _Best()
    offers = [Offer(0.25, 0.25, 0.5, 0.1), Offer(0.25, 0.25, 0.49, 9.0), Offer(0.25, 0.25, 0.49, 5.0)]
    for step, offer in enumerate(offers, start=1):
        best.offer(Thresholded(np.zeros(1, dtype=bool), None, None), evaluation(offer), offer.density, search, step)
    assert best.step == 3


def test_a_search_returns_what_its_targets_ask_for(tmp_path: Path) -> None:
    model = load_model(build_tiny_gpt2(tmp_path, n_layer=2))
    data = random_data(model)
    phase = EdgeConfig(steps=24, learning_rate=0.5, sparsity_peak=200.0)
    densities = []
    for accuracy, complement in ((0.0, 1.0), (1.0, 1.0), (0.75, 0.25)):
        search = SearchConfig(
            batch_size=4, evaluations=12, edges=phase, target_accuracy=accuracy, target_complement=complement
        )
        *_, last = discover(model, data, search)
        assert last.circuit is not None
        scored = last.circuit.provenance["history"]
        needed = accuracy * evaluate(model, last.circuit, data.validation).full.accuracy

        def rank(
            figures: dict[str, float], needed: float = needed, complement: float = complement
        ) -> tuple[float, ...]:
            shortfall = max(0.0, needed - figures["accuracy"]) + max(0.0, figures["complement_accuracy"] - complement)
            return shortfall, figures["density"] * math.exp(figures["kl"])

        chosen = min(scored, key=rank)
        assert last.best_step == last.circuit.provenance["step"] == chosen["step"]
        assert last.circuit.edge_density == chosen["density"]
        densities.append(chosen["density"])
    assert densities[0] == min(figures["density"] for figures in scored)
    assert densities[2] > densities[0], "targets cost edges here, else this tells nothing"


def test_the_edges_are_searched_on_the_best_weights_not_on_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first offer is made the best, so that best and last differ."""
    model = load_model(build_tiny_gpt2(tmp_path, n_layer=1))
    weights = WeightConfig(steps=6, learning_rate=0.5, sparsity_peak=300.0)
    search = SearchConfig(
        mask="both", batch_size=4, evaluations=3, weights=weights, edges=EdgeConfig(steps=2, completeness=0.0)
    )
    offer = _Best.offer

    def first_only(self: _Best, thresholded: Thresholded, *rest: Any) -> None:
        if self.thresholded is None:
            offer(self, thresholded, *rest)

    monkeypatch.setattr(_Best, "offer", first_only)
    *_, last = discover(model, random_data(model), search)
    assert last.circuit is not None
    assert last.last_circuit is not None
    found = [figures["density"] for figures in last.circuit.provenance["history"] if figures["phase"] == "weights"]
    assert found[0] > found[-1]
    assert last.circuit.weight_density == found[0]
    assert last.last_circuit.weight_density == found[0]


def test_weights_are_chosen_by_their_density(tmp_path: Path) -> None:
    model = load_model(build_tiny_gpt2(tmp_path, n_layer=1))
    weights = WeightConfig(steps=8, learning_rate=0.5, sparsity_peak=300.0)
    search = SearchConfig(
        mask="weights", batch_size=4, evaluations=4, weights=weights, target_accuracy=0.0, target_complement=1.0
    )
    *_, last = discover(model, random_data(model), search)
    assert last.circuit is not None
    found = [figures["density"] for figures in last.circuit.provenance["history"]]
    assert len(set(found)) == 4
    assert last.circuit.weight_density == min(found)


def test_every_pass_takes_each_prompt_once_in_an_order_of_its_own() -> None:
    order = _Order(12, 4, torch.Generator().manual_seed(0))
    passes = [[order.draw() for _ in range(3)] for _ in range(4)]
    flat = [[place for batch in batches for place in batch] for batches in passes]
    assert all(sorted(one) == list(range(12)) for one in flat)
    assert all(len(batch) == 4 for batches in passes for batch in batches)
    assert len({tuple(one) for one in flat}) == 4
    assert tuple(range(12)) not in {tuple(one) for one in flat}
    uneven = _Order(5, 2, torch.Generator().manual_seed(0))
    for _ in range(3):  # what is left of a pass is no batch
        assert len({*uneven.draw(), *uneven.draw()}) == 4
    assert sorted(_Order(3, 8, torch.Generator()).draw()) == [0, 1, 2]


def test_an_order_continued_from_its_state_goes_on_as_it_would_have() -> None:
    order = _Order(9, 2, torch.Generator().manual_seed(0))
    for _ in range(5):
        order.draw()
    other = _Order(9, 2, torch.Generator().manual_seed(7))
    other.load_state(order.state())
    assert [other.draw() for _ in range(9)] == [order.draw() for _ in range(9)]


def test_the_schedules_see_the_steps_of_their_phase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []
    for kind in (EdgePhase, WeightPhase):
        begin = kind.begin

        def watched(self: Any, step: int, begin: Any = begin) -> None:
            seen.append((self.name, step))
            begin(self, step)

        monkeypatch.setattr(kind, "begin", watched)
    model = load_model(build_tiny_gpt2(tmp_path, n_layer=1))
    search = SearchConfig(mask="both", evaluations=1, weights=WeightConfig(steps=2), edges=EdgeConfig(steps=3))
    list(discover(model, random_data(model), search))
    assert seen == [("weights", 0), ("weights", 1), ("edges", 0), ("edges", 1), ("edges", 2)]
