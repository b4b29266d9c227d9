"""Answers of several tokens: every figure is that of a slow loop over prompt + answer, text by text."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from discogp import AblationSession, load_model
from discogp.circuits.circuit import Circuit
from discogp.circuits.measures import FURTHER, Measure
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.engine.masks import apply_weight_masks, weight_fields
from discogp.evaluation import scorer, toggling
from discogp.evaluation.candidates import Candidates, along_right_answers, as_one_token, greedy_is_right
from discogp.evaluation.outcome import Outcome
from discogp.evaluation.scorer import Evaluator, Scorer
from discogp.methods.random import random_edges
from discogp.prompts.answers import chance, full_answers
from discogp.tasks.encoded import Prompts, Row
from tests.tiny_models import build_tiny_gpt2, build_tiny_llama
from tests.whole_answers import Said, Slow, random_rows, said

N = 7


@pytest.fixture(scope="module", params=[build_tiny_gpt2, build_tiny_llama], ids=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    settings = {"n_layer": 2} if request.param is build_tiny_gpt2 else {"num_hidden_layers": 2}
    return load_model(request.param(tmp_path_factory.mktemp("model"), **settings))


@pytest.fixture(params=["one batch", "several batches", "no room"])
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "one batch":
        monkeypatch.setattr(scorer, "_BATCH_BYTES", 4 * 32 * 60 * 6 * 8)
    if request.param == "no room":
        monkeypatch.setattr(toggling, "kept_bytes", lambda device: 10_000)
        monkeypatch.setattr(toggling, "_HALF_MAY_COST", -1.0)
    return request.param


def same(got: Outcome, rows: list[Row], ours: list[Said], full: list[Said]) -> None:
    assert got.correct.tolist() == [one.is_right() for one in ours]
    assert got.top_token.tolist() == [one.top[0] for one in ours]
    assert list(got.texts) == [one.as_far_as(row) for one, row in zip(ours, rows, strict=True)]
    assert got.top_is_right.tolist() == [one.first_is_right(row) for one, row in zip(ours, rows, strict=True)]
    np.testing.assert_allclose(got.logit_diff, [float(one.difference()) for one in ours], atol=2e-4)
    kl = [float(one.kl_from(of)) for one, of in zip(ours, full, strict=True)]
    np.testing.assert_allclose(got.kl, kl, atol=5e-4)


def equal(got: Outcome, expected: Outcome) -> None:
    for name in ("correct", "top_token", "top_is_right"):
        assert getattr(got, name).tolist() == getattr(expected, name).tolist()
    np.testing.assert_allclose(got.logit_diff, expected.logit_diff, atol=2e-4)
    np.testing.assert_allclose(got.kl, expected.kl, atol=2e-4)


@pytest.mark.parametrize("equal_lengths", [True, False], ids=["equal", "unequal"])
@pytest.mark.parametrize(
    ("ablation", "density", "room"),
    [
        ("zero", 0.2, "one batch"),
        ("mean", 0.7, "several batches"),
        ("mean", 0.2, "no room"),
        ("resample", 0.2, "several batches"),
        ("resample", 0.7, "one batch"),
    ],
    indirect=["room"],
)
def test_figures_are_those_of_a_loop_over_texts(
    model: MaskedTransformer, ablation: str, density: float, equal_lengths: bool, room: str
) -> None:
    rows = random_rows(model, N, seed=3, equal=equal_lengths)
    prompts = Prompts.of(rows)
    rng = np.random.default_rng(6)
    kept = random_edges(model.graph, density)
    masks = {name: rng.random(tuple(tensor.shape)) < 0.8 for name, _, _, tensor in weight_fields(model.weights)}
    sheaf = ablation == "mean"
    circuit = Circuit(model.graph, kept, weight_masks=masks if sheaf else None, ablation=ablation)  # type: ignore[arg-type]
    weights = None
    if sheaf:
        weights = apply_weight_masks(model.weights, {name: torch.from_numpy(mask) for name, mask in masks.items()})
    slow = Slow(model, rows, ablation, weights)
    full = [said(Slow(model, rows).full(), row) for row in rows]
    names = {edge.name for edge in model.graph.edges if kept[edge.index]}
    session = AblationSession(model, circuit, prompts)
    same(session.full, rows, full, full)
    ours = [said(slow.keeping(names), row) for row in rows]
    same(session.circuit, rows, ours, full)
    same(Evaluator(model, prompts, circuit.ablation).scorer(circuit).outcome(kept), rows, ours, full)
    assert len({one.is_right() for one in full}) == 2
    assert session.full.top_is_right.tolist() == [i % 3 == 0 for i in range(N)]
    off = list(circuit.edges)[: 1 if room == "one batch" else 5]
    less = [said(slow.keeping(names - set(off)), row) for row in rows]
    same(session.without(off), rows, less, full)


@pytest.mark.parametrize("ablation", ["zero", "resample"])
def test_leave_one_out_and_toggles_are_separate_evaluations(model: MaskedTransformer, ablation: str, room: str) -> None:
    rows = random_rows(model, N, seed=4)
    circuit = Circuit(model.graph, random_edges(model.graph, 0.12), ablation=ablation)  # type: ignore[arg-type]
    session = AblationSession(model, circuit, Prompts.of(rows))
    own = session._evaluator.scorer(circuit)
    assert (len(own.batches) > 1) == (room != "one batch")
    found = session.leave_one_out()
    slow = Slow(model, rows, ablation)
    whole = [said(slow.keeping(set(circuit.edges)), row) for row in rows]
    for place, (name, one) in enumerate(zip(circuit.edges, found.left_out, strict=True)):
        separate = own.outcome(circuit.without([name]).edge_mask)
        equal(one.outcome, separate)
        equal(session.without([name]), separate)
        columns = ("correct", "top_token", "top_is_right")
        different = [getattr(separate, column) != getattr(session.circuit, column) for column in columns]
        assert one.changed.tolist() == np.any(different, axis=0).tolist()
        if place < 2:
            less = [said(slow.keeping(set(circuit.edges) - {name}), row) for row in rows]
            change = [float(a.kl_from(b)) for a, b in zip(less, whole, strict=True)]
            np.testing.assert_allclose(one.change, change, atol=5e-4)
    assert max(float(one.change.max()) for one in found.left_out) > 0.05


def test_another_token_later_in_an_answer_is_a_change(model: MaskedTransformer) -> None:
    """A right text of two tokens whose second is no longer the likeliest, everything else as it was."""
    session = AblationSession(model, Circuit.full(model.graph), Prompts.of(random_rows(model, 30, seed=9)))
    found = session._toggler.leave_one_out(range(0, model.graph.n_edges, 3))
    whole = session.circuit
    later = [
        (one.outcome.top_is_right != whole.top_is_right)
        & (one.outcome.top_token == whole.top_token)
        & (one.outcome.correct == whole.correct)
        for one in found
    ]
    assert np.any(later)
    assert all(one.changed[where].all() for one, where in zip(found, later, strict=True))


def test_answers_of_one_token_among_longer_ones_keep_their_figures(model: MaskedTransformer) -> None:
    rows = random_rows(model, 4, seed=5)
    short = [Row(row.example, row.prompt, None, [row.correct[0][:1]], [[0], row.prompt[:1]]) for row in rows]
    alone, among = Prompts.of(short), Prompts.of([*short, rows[0]])
    assert alone.steps is None
    assert among.steps is not None
    a, b = Scorer(model, alone), Scorer(model, among)
    mask = np.random.default_rng(2).random(model.graph.n_edges) < 0.7
    for first, second in ((a.full, b.full), (a.outcome(mask), b.outcome(mask))):
        for name in ("correct", "top_token", "top_is_right", "logit_diff", "kl"):
            np.testing.assert_allclose(getattr(second, name)[:-1], getattr(first, name), atol=1e-5)


def test_the_full_models_answers_and_chance(model: MaskedTransformer) -> None:
    rows = random_rows(model, N, seed=3)
    prompts = Prompts.of(rows)
    found = full_answers(model, prompts)
    full = [said(Slow(model, rows).full(), row) for row in rows]
    assert found.right.tolist() == [one.is_right() for one in full]
    assert found.top1.tolist() == [one.first_is_right(row) for one, row in zip(full, rows, strict=True)]
    np.testing.assert_allclose(found.logit_diff, [float(one.difference()) for one in full], atol=2e-4)
    again = Row(rows[1].example, [5, 6], [6, 5], [rows[1].correct[0], [7]], [[8, 9], [1, 2, 3], [4]])
    guess = chance(prompts, Prompts.of([again] * 3))
    every = [*rows, *[again] * 3]
    assert guess.uniform == pytest.approx(np.mean([len(r.correct) / (len(r.correct) + len(r.wrong)) for r in every]))
    assert (guess.majority, guess.answer) == (4 / len(every), tuple(rows[1].correct[0]))


def probability(logits: torch.Tensor, prompts: Prompts, full_log_probs: torch.Tensor) -> torch.Tensor:
    right = logits.softmax(-1).gather(1, prompts.correct.clamp_min(0))
    return (right * (prompts.correct >= 0)).sum(1)


def test_a_measure_of_ones_own_sees_answers_as_one_token_each(model: MaskedTransformer) -> None:
    rows = random_rows(model, 9, seed=3, equal=True)
    FURTHER.add("probability", Measure("probability", "p", "p", "p", 1, True, probability))
    try:
        found = Scorer(model, Prompts.of(rows)).full
    finally:
        FURTHER.remove("probability")
    full = [said(Slow(model, rows).full(), row) for row in rows]
    expected = [float(torch.stack(one.right).exp().sum()) for one in full]
    np.testing.assert_allclose(found.further["probability"], expected, rtol=1e-3, atol=1e-6)


def test_all_else_is_the_rest_of_the_probability(model: MaskedTransformer) -> None:
    rows = random_rows(model, 5, seed=8, equal=True)
    prompts = Prompts.of(rows)
    logits = model.logits(prompts.tokens, prompts.last)
    seen, view, full = as_one_token(logits, logits.log_softmax(-1), prompts)
    torch.testing.assert_close(seen, full)
    torch.testing.assert_close(seen.exp().sum(1), torch.ones(5))
    scores = Candidates.of(logits, prompts).scores
    torch.testing.assert_close(seen[:, :-1].exp(), scores.exp(), atol=1e-6, rtol=1e-3)
    assert (len(view), view.n_rows, view.steps) == (5, 5, None)
    assert view.tokens.tolist() == prompts.asked.tokens.tolist()


def test_answers_of_one_token_go_through_untouched(model: MaskedTransformer) -> None:
    """Not equal numbers but the same tensors: nothing is computed between logits and measures."""
    row = random_rows(model, 1, seed=3)[0]
    prompts = Prompts.of([Row(row.example, row.prompt, None, [[1], [2]], [[3]])])
    logits = model.logits(prompts.tokens, prompts.last)
    found = Candidates.of(logits, prompts)
    assert found.scores is logits
    assert (found.correct is prompts.correct, found.wrong is prompts.wrong) == (True, True)
    assert along_right_answers(logits, prompts) is logits
    seen, view, full = as_one_token(logits, logits, prompts)
    assert (seen is logits, view is prompts, full is logits) == (True, True, True)
    assert greedy_is_right(torch.tensor([2]), prompts).tolist() == [True]
    assert greedy_is_right(torch.tensor([3]), prompts).tolist() == [False]
