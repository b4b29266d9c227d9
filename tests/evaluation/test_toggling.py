"""Toggles and leave-one-out give what separate evaluations give, on mixed lengths, several batches, and sheaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from discogp import AblationSession, load_model
from discogp.circuits.circuit import Circuit
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.engine.masks import weight_fields
from discogp.evaluation import scorer, toggling
from discogp.evaluation.outcome import Outcome
from discogp.evaluation.scorer import Evaluator, Scorer
from discogp.tasks import Example, Prompts
from tests.tiny_models import build_tiny_gpt2, build_tiny_llama

N = 7


@pytest.fixture(scope="module", params=[build_tiny_gpt2, build_tiny_llama], ids=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(request.param(tmp_path_factory.mktemp("model")))


@pytest.fixture(params=["one batch", "several batches", "no room"])
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "one batch":
        monkeypatch.setattr(scorer, "_BATCH_BYTES", 4 * 32 * 80 * 6 * 3)
    if request.param == "no room":
        monkeypatch.setattr(toggling, "kept_bytes", lambda device: 10_000)  # for some of the batches
        monkeypatch.setattr(toggling, "_HALF_MAY_COST", -1.0)
    return request.param


@pytest.fixture(scope="module")
def prompts() -> Prompts:
    generator = torch.Generator().manual_seed(3)
    tokens, other = torch.randint(0, 97, (2, N, 6), generator=generator)
    lengths = torch.tensor([6, 3, 5, 1, 6, 2, 4])
    correct = torch.randint(0, 48, (N, 2), generator=generator)
    correct[::2, 1] = -1
    wrong = torch.randint(48, 97, (N, 3), generator=generator)
    wrong[1::2, 2] = -1
    examples = tuple(Example(f"w{i}", f"w{i + 1}", (" w1",), (" w2",)) for i in range(N))
    return Prompts(tokens, lengths, other, correct, wrong, examples)


def circuit_of(model: MaskedTransformer, ablation: str, density: float, seed: int = 0) -> Circuit:
    """A circuit; with mean ablation, a sheaf."""
    rng = np.random.default_rng(seed)
    kept = rng.random(model.graph.n_edges) < density
    masks = {name: rng.random(tensor.shape) < 0.8 for name, _, _, tensor in weight_fields(model.weights)}
    return Circuit(model.graph, kept, weight_masks=masks if ablation == "mean" else None, ablation=ablation)  # type: ignore[arg-type]


def same(got: Outcome, expected: Outcome) -> None:
    assert got.correct.tolist() == expected.correct.tolist()
    assert got.top_token.tolist() == expected.top_token.tolist()
    assert got.top_is_right.tolist() == expected.top_is_right.tolist()
    np.testing.assert_allclose(got.logit_diff, expected.logit_diff, atol=1e-4)
    np.testing.assert_allclose(got.kl, expected.kl, atol=1e-4)


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
def test_without_is_a_separate_evaluation(model, prompts, room, ablation, monkeypatch):
    circuit = circuit_of(model, ablation, 0.15)
    session = AblationSession(model, circuit, prompts)
    assert (len(session._evaluator.base.batches) > 2) == (room != "one batch")
    yardstick = Evaluator(model, prompts, circuit.ablation).scorer(circuit)
    names = list(circuit.edges)
    node = circuit.graph.edge(names[0]).target
    asked = ([], names[:1], names[3:9], [node], ["m1", names[-1]], names)
    with monkeypatch.context() as dense:
        dense.setattr(scorer, "_SPARSE_BELOW", 0)
        expected = [yardstick.outcome(circuit.without(off).edge_mask) for off in asked]
    for off, right in zip(asked, expected, strict=True):
        same(session.without(off), right)
    same(session.without(["a1.h2"]), session.without(["a1.h2"]))


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
def test_leave_one_out_is_that_many_evaluations(model, prompts, room, ablation):
    circuit = circuit_of(model, ablation, 0.08)
    session = AblationSession(model, circuit, prompts)
    scorer = session._evaluator.scorer(circuit)
    calls: list[tuple[int, int]] = []
    found = session.leave_one_out(lambda done, total: calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1] == circuit.n_edges * len(scorer.batches)
    assert [circuit.graph.edges[one.edge].name for one in found.left_out] == list(circuit.edges)
    whole = scorer.outcome(circuit.edge_mask)
    for name, one in zip(circuit.edges, found.left_out, strict=True):
        separate = scorer.outcome(circuit.without([name]).edge_mask)
        same(one.outcome, separate)
        changed = (separate.top_token != whole.top_token) | (separate.correct != whole.correct)
        assert one.changed.tolist() == changed.tolist()


def test_change_is_measured_from_the_circuit(model, prompts):
    """Where the circuit is the full model, KL(circuit ‖ without) and KL(full ‖ without) are one."""
    session = AblationSession(model, Circuit.full(model.graph), prompts)
    some = session._toggler.leave_one_out([0, 40, model.graph.n_edges - 1])
    for one in some:
        np.testing.assert_allclose(one.change, one.outcome.kl, atol=1e-4)
        assert one.change.max() > 1e-3


def test_minimality(model, prompts):
    needed = ["input->a0.h0<v>", "a0.h0->m1", "m1->logits"]
    idle = ["input->a0.h3<v>", "a0.h3->m0", "m0->a2.h3<q>"]  # no path to the logits
    session = AblationSession(model, Circuit.from_edges(model.graph, needed + idle), prompts)
    found = session.leave_one_out()
    assert found.minimality == 0.5
    assert {effect.edge for effect in found.effects if effect.idle} == set(idle)
    assert [e.change for e in found.effects] == sorted((e.change for e in found.effects), reverse=True)
    data = found.to_json()
    assert (data["n_edges"], data["n_idle"], data["n"]) == (6, 3, N)
    assert AblationSession(model, Circuit.from_edges(model.graph, []), prompts).leave_one_out().minimality == 1


def test_leave_one_out_can_be_cancelled(model, prompts, monkeypatch):
    monkeypatch.setattr(toggling, "_ROWS_READ_TOGETHER", 1)
    session = AblationSession(model, circuit_of(model, "zero", 0.1), prompts)

    class Cancelled(Exception):
        pass

    def stop(done: int, total: int) -> None:
        assert done < total
        raise Cancelled

    with pytest.raises(Cancelled):
        session.leave_one_out(stop)
    same(session.without([]), session.circuit)  # and the session still works


def test_what_is_kept_is_given_back_and_answers_stay(model, prompts, room):
    circuit = circuit_of(model, "zero", 0.15)
    session = AblationSession(model, circuit, prompts)
    toggler, names = session._toggler, list(circuit.edges)[:2]
    before = session.without(names)
    batches, size = toggler.kept
    assert size <= (10_000 if room == "no room" else 10**9)
    assert batches == (1 if room == "no room" else len(session._scorer.batches))
    told = [session._scorer.runner(i).state_bytes(state.plan) for i, state in toggler._states.items()]
    assert size == sum(told), "what is told beforehand is what is held"
    toggler.release()
    assert toggler.kept == (0, 0)
    again = session.without(names)
    np.testing.assert_array_equal(again.kl, before.kl)
    assert toggler.kept == (batches, size)


@pytest.fixture
def three_batches(model, prompts, monkeypatch) -> Scorer:
    """Of a circuit with an edge that matters in the middle, for `Toggler`s of any room."""
    monkeypatch.setattr(scorer, "_BATCH_BYTES", 4 * 32 * 80 * 6 * 3)
    found = Evaluator(model, prompts, "zero").scorer(circuit_of(model, "zero", 0.15))
    assert len(found.batches) == 3
    return found


def test_where_room_runs_out_the_last_batches_are_kept_in_half_precision(model, three_batches):
    mask = circuit_of(model, "zero", 0.15).edge_mask
    whole = toggling.Toggler(three_batches, mask)
    exact = whole.outcome(mask)
    n, all_of_it = whole.kept
    assert (n, [state.half for state in whole._states.values()]) == (3, [False] * 3)
    smallest = min(state.n_bytes for state in whole._states.values())
    for room, halves in ((all_of_it - smallest // 4, 1), (all_of_it * 0.56, 3), (all_of_it * 0.2, 0)):
        tight = toggling.Toggler(three_batches, mask, keep=int(room))
        for edge in (None, *np.flatnonzero(mask)[::5]):
            asked = mask.copy()
            asked[[] if edge is None else edge] = False
            got, right = tight.outcome(asked), whole.outcome(asked)
            np.testing.assert_allclose(got.logit_diff, right.logit_diff, atol=2e-3)
            np.testing.assert_allclose(got.kl, right.kl, atol=1e-3)
        assert tight.kept[1] <= room
        assert sum(state.half for state in tight._states.values()) >= halves
        assert [state.half for state in tight._states.values()] == sorted(
            state.half for state in tight._states.values()
        )
        np.testing.assert_array_equal(tight.outcome(mask).kl, exact.kl)


def test_the_first_batch_is_the_last_to_give_way(three_batches):
    """Its figures are those that a click waits for."""
    mask = circuit_of(three_batches.model, "zero", 0.15).edge_mask
    whole = toggling.Toggler(three_batches, mask)
    whole.outcome(mask)
    first, second, third = (whole._states[index].n_bytes for index in range(3))
    tight = toggling.Toggler(three_batches, mask, keep=int(first + second + 0.3 * third))
    tight.outcome(mask)
    assert [tight._states[index].half for index in range(3)] == [False, True, True]


def written_larger(model: MaskedTransformer, times: float) -> MaskedTransformer:
    """The same model with `times` as large a residual stream: norms divide by its size, so it says the same."""

    def scaled(owner: Any, *names: str) -> Any:
        return replace(owner, **{n: t * times for n in names if (t := getattr(owner, n)) is not None})

    layers = tuple(scaled(layer, "o", "o_bias", "mlp_out", "mlp_out_bias") for layer in model.weights.layers)
    unembed = model.weights.unembed.clone()
    weights = scaled(replace(model.weights, layers=layers, unembed=unembed), "embed", "positions")
    return MaskedTransformer(weights, "large")


@pytest.mark.parametrize("told", ["by the edges left out", "by the outputs themselves"])
def test_what_half_precision_cannot_hold_is_not_kept_in_it(model, prompts, three_batches, monkeypatch, told):
    if told == "by the outputs themselves":
        monkeypatch.setattr(toggling, "_agree", lambda one, other: True)
    mask = circuit_of(model, "zero", 0.15).edge_mask
    large = Evaluator(written_larger(model, 1e8), prompts, "zero").scorer(circuit_of(model, "zero", 0.15))
    whole = toggling.Toggler(large, mask)
    asked = mask.copy()
    asked[np.flatnonzero(mask)[30]] = False
    right = whole.outcome(asked)
    np.testing.assert_allclose(right.kl, toggling.Toggler(three_batches, mask).outcome(asked).kl, atol=1e-3)
    tight = toggling.Toggler(large, mask, keep=int(whole.kept[1] * 0.6))
    for _ in range(2):  # the second time, it is known
        np.testing.assert_allclose(tight.outcome(asked).kl, right.kl, atol=1e-4)
        assert 0 < tight.kept[0] < 3
        assert not any(state.half for state in tight._states.values())


def test_what_may_be_kept_is_asked_anew_once_all_is_given_back(model, prompts, monkeypatch):
    session = AblationSession(model, circuit_of(model, "zero", 0.15), prompts)
    monkeypatch.setattr(toggling, "kept_bytes", lambda device: 0)
    session.without([])
    assert session._toggler.kept == (0, 0)
    monkeypatch.undo()
    session.without([])
    assert session._toggler.kept[0] == 1
