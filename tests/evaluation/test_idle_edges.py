"""What counts as a change: the likeliest token or the verdict, each alone; and what makes an edge idle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from discogp.circuits.circuit import Circuit
from discogp.circuits.graph import ComputationGraph
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.engine.masks import edge_matrix
from discogp.errors import GraphError
from discogp.evaluation import toggling
from discogp.evaluation.minimality import IDLE_KL, Effect, Minimality, sample_order
from discogp.evaluation.outcome import Outcome
from discogp.evaluation.session import AblationSession
from discogp.evaluation.toggling import LeftOut
from tests.random_task import prompts_of
from tests.tiny_models import build_tiny_gpt2

NAMES = (
    "input->a0.h0<v>",
    "input->m0",
    "a0.h0->m0",
    "a0.h0->m1",
    "m0->m1",
    "input->logits",
    "m0->logits",
    "m1->logits",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(build_tiny_gpt2(tmp_path_factory.mktemp("model"), n_layer=2))


def test_a_verdict_that_flips_is_a_change_though_the_likeliest_token_stays(model: MaskedTransformer) -> None:
    circuit = Circuit.from_edges(model.graph, NAMES)
    base = prompts_of(model, 8, seed=0)
    whole = model.masked(base.tokens, edge_matrix(model.graph, circuit.edge_mask), last=base.last)
    flips = 0
    for name in NAMES:
        off = edge_matrix(model.graph, circuit.without([name]).edge_mask)
        without = model.masked(base.tokens, off, last=base.last)
        # Of each prompt the two tokens whose order is turned round most: they become its right and its wrong answer.
        turned = torch.minimum(whole[:, :, None] - whole[:, None], without[:, None] - without[:, :, None]).flatten(1)
        margin, pair = turned.max(1)
        right, wrong = pair // whole.shape[1], pair % whole.shape[1]
        prompts = replace(base, correct=right[:, None], wrong=wrong[:, None])
        session = AblationSession(model, circuit, prompts)
        (one,) = session._toggler.leave_one_out([model.graph.index(name)])
        assert (margin > 1e-3).all()
        assert session.circuit.correct.all()
        assert not one.outcome.correct.any()
        assert one.changed.all()
        stays = one.outcome.top_token == session.circuit.top_token
        flips += int(stays.sum())
    assert flips > 5, "else the likeliest token told the change"


def test_a_likeliest_token_that_changes_is_a_change_though_the_verdict_stays(model: MaskedTransformer) -> None:
    circuit = Circuit.from_edges(model.graph, NAMES)
    base = prompts_of(model, 8, seed=0)
    session = AblationSession(model, circuit, base)
    other = 0
    for one in session._toggler.leave_one_out([model.graph.index(name) for name in NAMES]):
        top = one.outcome.top_token != session.circuit.top_token
        verdict = one.outcome.correct != session.circuit.correct
        assert (one.changed == (top | verdict)).all()
        other += int((top & ~verdict).sum())
    assert other > 5


@pytest.mark.parametrize("rows", [1024, 24, 8])
def test_the_change_is_from_the_circuit_to_the_circuit_without_the_edge(
    model: MaskedTransformer, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many circuits are read at once; the model itself is another reference, for another figure."""
    monkeypatch.setattr(toggling, "_ROWS_READ_TOGETHER", rows)
    circuit, base = Circuit.from_edges(model.graph, NAMES), prompts_of(model, 8, seed=0)
    session = AblationSession(model, circuit, base)

    def log_probs(mask: np.ndarray) -> torch.Tensor:
        return model.masked(base.tokens, edge_matrix(model.graph, mask), last=base.last).log_softmax(-1)

    full, whole = model.logits(base.tokens, base.last).log_softmax(-1), log_probs(circuit.edge_mask)
    edges = [model.graph.index(name) for name in NAMES]
    for name, edge, one in zip(NAMES, edges, session._toggler.leave_one_out(edges), strict=True):
        without = log_probs(circuit.without([name]).edge_mask)
        assert one.edge == edge
        np.testing.assert_allclose(one.change, (whole.exp() * (whole - without)).sum(-1), atol=1e-4)
        np.testing.assert_allclose(one.outcome.kl, (full.exp() * (full - without)).sum(-1), atol=1e-4)
        assert one.change.max() > 1e-2


@pytest.mark.parametrize(
    ("change", "changed", "idle"),
    [
        (0.0, 0, True),
        (0.9 * IDLE_KL, 0, True),
        (IDLE_KL, 0, False),
        (1.1 * IDLE_KL, 0, False),
        (0.0, 1, False),
        (0.9 * IDLE_KL, 1, False),
        (1.0, 3, False),
    ],
)
def test_idle_is_little_change_and_no_prompt_changed(change: float, changed: int, idle: bool) -> None:
    assert Effect("input->m0", change, changed, 0.0, 0.0, 0.0, 0.0).idle is idle


def outcome(correct: list[bool], top_is_right: list[bool], logit_diff: list[float], kl: list[float]) -> Outcome:
    arrays = (np.array(correct), np.zeros(2, np.int64), np.array(top_is_right))
    return Outcome(*arrays, np.array(logit_diff, np.float32), np.array(kl, np.float32))


def test_minimality_by_hand() -> None:
    graph = ComputationGraph(1, 1)
    circuit = Circuit.from_edges(graph, ["input->m0", "input->logits", "m0->logits"])
    whole = outcome([True, True], [True, False], [2.0, 4.0], [0.5, 0.5])
    worse = outcome([True, False], [False, False], [1.0, 3.0], [0.5, 1.5])
    first, second, third = np.flatnonzero(circuit.edge_mask).tolist()
    small, large = np.array([2e-4, 4e-4], np.float32), np.array([0.0, 0.5], np.float32)
    no, one = np.zeros(2, bool), np.array([False, True])
    effects = (
        LeftOut(first, whole, small, no),
        LeftOut(second, worse, large, no),
        LeftOut(third, whole, small / 2, one),
    )
    found = Minimality(circuit, whole, effects)
    assert [effect.edge for effect in found.effects] == ["input->logits", "input->m0", "m0->logits"]
    assert [effect.idle for effect in found.effects] == [False, True, False]
    assert [effect.changed for effect in found.effects] == [0, 0, 1]
    assert [effect.change for effect in found.effects] == pytest.approx([0.25, 3e-4, 1.5e-4])
    worst = found.effects[0]
    assert (worst.accuracy, worst.top1, worst.kl, worst.logit_diff) == pytest.approx((-0.5, -0.5, 0.5, -1.0))
    assert found.n_idle == 1
    assert found.minimality == pytest.approx(2 / 3)
    data = found.to_json()
    assert [edge["idle"] for edge in data["edges"]] == [False, True, False]
    assert found.interval is None
    low, high = replace(found, seed=1).interval
    # Wilson's bounds: the p with (p − 2/3)² = z²·p(1 − p)/3.
    for p in (low, high):
        assert (p - 2 / 3) ** 2 == pytest.approx(1.959964**2 * p * (1 - p) / 3)
    assert low < 2 / 3 < high


def test_a_sample_is_of_the_random_order_and_says_of_which(model: MaskedTransformer) -> None:
    circuit, base = Circuit.from_edges(model.graph, NAMES), prompts_of(model, 8, seed=0)
    session = AblationSession(model, circuit, base)
    all_of_them = {effect.edge: effect for effect in session.leave_one_out().effects}
    some = session.sampled(3, seed=5)
    assert some.seed == 5
    assert {effect.edge for effect in some.effects} == set(sample_order(circuit, 5)[:3])
    assert {effect.edge for effect in some.effects} != set(sample_order(circuit, 6)[:3])
    for effect in some.effects:
        assert effect.change == pytest.approx(all_of_them[effect.edge].change, abs=1e-5)
    assert session.sampled(99).interval is None
    assert len(session.sampled(99).effects) == len(NAMES)
    every = [set(sample_order(circuit, seed)[:3]) for seed in range(60)]
    assert all(any(name in drawn for drawn in every) for name in NAMES)


def test_only_edges_of_the_circuit_can_be_left_out(model: MaskedTransformer) -> None:
    session = AblationSession(model, Circuit.from_edges(model.graph, NAMES), prompts_of(model, 8, seed=0))
    with pytest.raises(GraphError, match="not in the circuit"):
        session.leave_one_out(edges=["m0->a1.h2<k>"])


def test_effects_come_a_few_at_a_time_and_the_next_are_asked_for_when_due(model: MaskedTransformer) -> None:
    session = AblationSession(model, Circuit.from_edges(model.graph, NAMES), prompts_of(model, 8, seed=0))
    whole = {effect.edge: effect for effect in session.leave_one_out().effects}
    asked: list[str] = []

    def chunks() -> Iterator[list[str]]:
        for chunk in ([NAMES[4]], [NAMES[1], NAMES[6]]):
            asked.extend(chunk)
            yield chunk

    coming = session.effects(chunks())
    assert [effect.edge for effect in next(coming)] == [NAMES[4]] == asked
    (second,) = list(coming)
    assert [effect.edge for effect in second] == [NAMES[1], NAMES[6]]
    for effect in second:
        assert effect.change == pytest.approx(whole[effect.edge].change, abs=1e-5)
        assert effect.changed == whole[effect.edge].changed
