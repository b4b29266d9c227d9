"""Figures that refine: what the first prompts say, with how much in doubt, and that it ends where asking once ends."""

from __future__ import annotations

import math
from itertools import product
from statistics import NormalDist

import numpy as np
import pytest
import torch

from discogp.circuits.circuit import Circuit
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.errors import DiscoGPError
from discogp.evaluation import scorer, session
from discogp.evaluation.outcome import Outcome
from discogp.evaluation.session import AblationSession
from discogp.evaluation.uncertainty import mean_error, rank_correlation, share_error, wilson
from discogp.tasks import Prompts
from tests.random_task import prompts_of
from tests.tiny_models import build_tiny_gpt2
from tests.whole_answers import random_rows

N = 11


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(build_tiny_gpt2(tmp_path_factory.mktemp("model")))


def circuit_of(model: MaskedTransformer, ablation: str, density: float = 0.15) -> Circuit:
    kept = np.random.default_rng(0).random(model.graph.n_edges) < density
    return Circuit(model.graph, kept, ablation=ablation)  # type: ignore[arg-type]


def same(got: Outcome, expected: Outcome) -> None:
    for name in ("correct", "top_token", "top_is_right"):
        assert getattr(got, name).tolist() == getattr(expected, name).tolist(), name
    for name in ("logit_diff", "kl"):
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), atol=1e-4)
    assert got.texts == expected.texts


@pytest.mark.parametrize(("ablation", "density"), [("zero", 0.15), ("mean", 0.15), ("resample", 0.15), ("zero", 0.6)])
def test_it_begins_with_the_first_prompts_and_ends_with_all(
    model: MaskedTransformer, ablation: str, density: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FIRST", 4)
    monkeypatch.setattr(scorer, "evaluation_batch", lambda *_: 5)
    circuit, prompts = circuit_of(model, ablation, density), prompts_of(model, N, seed=1)
    asked = AblationSession(model, circuit, prompts)
    names = circuit.edges[2:4]
    found = []
    for outcome in asked.refine(names):
        found.append(outcome)
        assert asked.known == (len(outcome) == N), "what figures are compared with is known as far as they are"
    assert [len(outcome) for outcome in found] == [4, 9, 11]
    monkeypatch.setattr(session, "FIRST", N)
    monkeypatch.setattr(scorer, "evaluation_batch", lambda *_: N)
    whole = AblationSession(model, circuit, prompts).without(names)
    for outcome in found:
        same(outcome, whole.first(len(outcome)))
    same(asked.without(names), whole)


def test_where_answers_are_several_tokens_no_prompt_is_torn(
    model: MaskedTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FIRST", 3)
    prompts = Prompts.of(random_rows(model, 8, seed=0))
    circuit = circuit_of(model, "zero")
    found = list(AblationSession(model, circuit, prompts).refine(circuit.edges[:1]))
    assert len(found[0]) == 3
    assert len(found[-1]) == len(prompts)
    monkeypatch.setattr(session, "FIRST", len(prompts))
    same(found[-1], AblationSession(model, circuit, prompts).without(circuit.edges[:1]))


def test_once_cancelled_nothing_more_is_run(model: MaskedTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FIRST", 2)
    monkeypatch.setattr(scorer, "evaluation_batch", lambda *_: 2)
    asked = AblationSession(model, circuit_of(model, "zero"), prompts_of(model, N, seed=1))
    _ = asked.circuit
    stop: list[bool] = []
    runs: list[int] = []
    read = scorer.Scorer.read

    def counted(self: scorer.Scorer, index: int, logits: torch.Tensor) -> Outcome:
        runs.append(index)
        return read(self, index, logits)

    monkeypatch.setattr(scorer.Scorer, "read", counted)
    coming = asked.refine(asked.base.edges[:1], lambda: bool(stop))
    assert len(next(coming)) == 2
    assert len(next(coming)) == 4
    stop.append(True)
    assert list(coming) == []
    assert runs == [0, 1]


def test_an_unknown_name_is_told_before_anything_runs(model: MaskedTransformer) -> None:
    asked = AblationSession(model, circuit_of(model, "zero"), prompts_of(model, N, seed=1))
    with pytest.raises(DiscoGPError, match="nobody"):
        asked.refine(["nobody"])


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
def test_one_prompt_alone_says_what_it_says_among_all(model: MaskedTransformer, ablation: str) -> None:
    circuit, prompts = circuit_of(model, ablation), prompts_of(model, N, seed=1)
    asked = AblationSession(model, circuit, prompts)
    whole = asked.without(circuit.edges[:3])
    for place in (0, 7):
        _, before, after = asked.of_prompt(place, circuit.edges[:3])
        same(before, asked.circuit.only(place))
        same(after, whole.only(place))


def outcome(correct: list[bool], kl: list[float]) -> Outcome:
    n = len(correct)
    some = np.array(correct)
    return Outcome(some, np.zeros(n, np.int64), ~some, np.arange(n, dtype=np.float32), np.array(kl, np.float32))


def test_errors_by_hand() -> None:
    found = outcome([True, True, True, False], [1.0, 2.0, 3.0, 4.0])
    errors = found.errors(1_000_000_000)
    assert errors["kl"] == pytest.approx(math.sqrt(5 / 3) / 2)  # sample variance 5/3
    assert errors["logit_diff"] == pytest.approx(math.sqrt(5 / 3) / 2)
    # Wilson's interval of one error: the two p with (p − .75)² = p(1 − p)/4.
    low, high = sorted(np.roots([1 + 1 / 4, -(1.5 + 1 / 4), 0.75**2]).tolist())
    assert errors["accuracy"] == pytest.approx((high - low) / 2)
    assert found.errors(4) == {"accuracy": 0, "top1": 0, "kl": 0, "logit_diff": 0}
    assert all(0 < found.errors(8)[name] < errors[name] for name in errors)
    assert math.isinf(found.first(1).errors(4)["kl"])


def test_all_right_is_not_beyond_doubt() -> None:
    assert share_error(32, 32, 10_000) > 0.01
    assert wilson(32, 32)[0] < 0.95
    assert wilson(32, 32)[1] == 1
    assert wilson(0, 0) == (0, 1)


@pytest.mark.parametrize(("n", "share"), [(20, 0.5), (40, 0.9), (60, 0.97)])
def test_wilson_holds_the_share_as_often_as_it_says(n: int, share: float) -> None:
    """Exactly, over all numbers of hits: the mean coverage of nearby shares is 95 %, to a few points."""
    covered = []
    for p in np.linspace(share - 0.02, share + 0.02, 9):
        weights = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
        inside = [low <= p <= high for low, high in (wilson(k, n) for k in range(n + 1))]
        covered.append(sum(w for w, yes in zip(weights, inside, strict=True) if yes))
    assert 0.92 < np.mean(covered) < 0.98


def test_the_error_of_a_mean_is_the_spread_of_all_samples() -> None:
    """Of all samples of three of five values, drawn without putting back."""
    values = np.array([0.0, 1.0, 1.5, 4.0, 9.0])
    picks = [pick for pick in product(range(5), repeat=3) if len(set(pick)) == 3]
    variance = np.var([values[list(pick)].mean() for pick in picks])
    told = np.mean([mean_error(values[list(pick)], 5) ** 2 for pick in picks])
    assert told == pytest.approx(variance)
    assert mean_error(values, 5) == 0


def test_rank_correlation_by_hand() -> None:
    assert rank_correlation([1.0, 2.0, 3.0], [10.0, 20.0, 5000.0]) == pytest.approx(1)
    assert rank_correlation([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1)
    # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4.
    assert rank_correlation([0.0, 5.0, 5.0, 9.0], [1.0, 2.0, 3.0, 4.0]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert math.isnan(rank_correlation([1.0], [1.0]))
    assert math.isnan(rank_correlation([1.0, 1.0], [1.0, 2.0]))


def test_z_of_95_per_cent() -> None:
    from discogp.evaluation.uncertainty import Z95

    assert pytest.approx(NormalDist().inv_cdf(0.975), abs=1e-6) == Z95
