"""First-order effects: the slope of the circuit's own figure, by finite differences; exact where a figure is linear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from discogp.circuits.circuit import Circuit
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.engine.masks import edge_matrix, weight_fields
from discogp.evaluation import first_order as module
from discogp.evaluation.measures import logit_difference
from discogp.evaluation.scorer import Scorer
from discogp.evaluation.session import AblationSession
from discogp.evaluation.uncertainty import rank_correlation
from discogp.tasks import Prompts
from tests.random_task import prompts_of
from tests.tiny_models import build_tiny, build_tiny_gpt2
from tests.whole_answers import random_rows

FAMILIES = ("GPT2LMHeadModel", "GPTNeoXForCausalLM", "LlamaForCausalLM", "Gemma2ForCausalLM")
STEP = 2e-3


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(build_tiny(request.param, tmp_path_factory.mktemp("model")))


def circuit_of(model: MaskedTransformer, ablation: str, sheaf: bool = False) -> Circuit:
    rng = np.random.default_rng(1)
    kept = rng.random(model.graph.n_edges) < 0.6
    masks = {name: rng.random(tensor.shape) < 0.8 for name, _, _, tensor in weight_fields(model.weights)}
    return Circuit(model.graph, kept, weight_masks=masks if sheaf else None, ablation=ablation)  # type: ignore[arg-type]


def figure_at(session: AblationSession, matrix: torch.Tensor, of: str) -> float:
    """The mean over all prompts at any mask, from the dense pass in double steps of nothing but the outcome's own."""
    scorer: Scorer = session._scorer
    found = []
    for index, batch in enumerate(scorer.batches):
        logits = session.model.masked(
            batch.tokens,
            matrix,
            last=batch.last,
            replacement=scorer.replacement(batch.tokens, batch.counterfactual),
            folded=scorer.folded,
        )
        found.append(scorer.read(index, logits))
    values = np.concatenate([getattr(outcome, of) for outcome in found])
    return float(values.mean(dtype=np.float64))


def slopes(session: AblationSession, names: list[str], of: str) -> list[float]:
    graph, found = session.model.graph, []
    for name in names:
        matrix = edge_matrix(graph, session.base.edge_mask)
        place = graph.index(name)
        ends = []
        for step in (STEP, -STEP):
            moved = matrix.clone()
            moved[graph.rows[place], graph.columns[place]] += step
            ends.append(figure_at(session, moved, of))
        found.append(-(ends[0] - ends[1]) / (2 * STEP))
    return found


@pytest.mark.parametrize(("ablation", "sheaf"), [("zero", False), ("mean", True), ("resample", False)])
@pytest.mark.parametrize("of", ["logit_diff", "kl"])
def test_it_is_the_slope_of_the_figure(
    model: MaskedTransformer, ablation: str, sheaf: bool, of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SHARE_OF_A_BATCH", 100_000)  # so that there are several batches
    session = AblationSession(model, circuit_of(model, ablation, sheaf), prompts_of(model, 5, seed=2))
    found = session.first_order(of)  # type: ignore[arg-type]
    strongest = list(found.by_name)[:6]
    expected = slopes(session, strongest, of)
    np.testing.assert_allclose([found.by_name[name] for name in strongest], expected, rtol=0.05, atol=4e-3)
    assert max(map(abs, expected)) > 0.02
    assert set(found.by_name) == set(session.base.edges)


def test_of_answers_of_several_tokens_it_is_the_slope_of_their_scores(model: MaskedTransformer) -> None:
    prompts = Prompts.of(random_rows(model, 6, seed=0))
    session = AblationSession(model, circuit_of(model, "zero"), prompts)
    found = session.first_order()
    strongest = list(found.by_name)[:5]
    expected = slopes(session, strongest, "logit_diff")
    np.testing.assert_allclose([found.by_name[name] for name in strongest], expected, rtol=0.05, atol=4e-3)


def test_the_strongest_come_first_whichever_their_sign(model: MaskedTransformer) -> None:
    found = AblationSession(model, circuit_of(model, "zero"), prompts_of(model, 5, seed=2)).first_order()
    sizes = [abs(effect) for effect in found.by_name.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert min(found.by_name.values()) < 0 < max(found.by_name.values())


def test_where_the_figure_is_linear_it_is_the_exact_effect(tmp_path: Path) -> None:
    """With a huge constant under its root a norm divides by a constant: the logits are linear in what they read."""
    model = load_model(build_tiny_gpt2(tmp_path, layer_norm_epsilon=1e4))
    circuit = circuit_of(model, "zero")
    prompts = prompts_of(model, 5, seed=2)
    session = AblationSession(model, circuit, prompts)
    into_logits = [name for name in circuit.edges if name.endswith("->logits")]
    assert len(into_logits) > 1
    estimated = session.first_order().by_name
    whole = model.masked(prompts.tokens, edge_matrix(model.graph, circuit.edge_mask), last=prompts.last)
    before = logit_difference(whole, prompts.correct, prompts.wrong)
    for name in into_logits:
        mask = edge_matrix(model.graph, circuit.without([name]).edge_mask)
        after = logit_difference(model.masked(prompts.tokens, mask, last=prompts.last), prompts.correct, prompts.wrong)
        exact = float((after - before).mean())
        assert abs(exact) > 1e-5
        assert estimated[name] == pytest.approx(exact, rel=1e-2)


def test_it_ranks_edges_much_as_their_removal_does(model: MaskedTransformer) -> None:
    session = AblationSession(model, circuit_of(model, "zero"), prompts_of(model, 12, seed=2))
    estimated = session.first_order().by_name
    exact = {effect.edge: effect.logit_diff for effect in session.leave_one_out().effects}
    assert rank_correlation([estimated[name] for name in exact], list(exact.values())) > 0.5
