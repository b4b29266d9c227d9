"""Circuit and complement of an evaluation against the slow reference: edges, weights or both the other way round."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from discogp.circuits.circuit import Circuit
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.engine.masks import apply_weight_masks, weight_fields
from discogp.evaluation.scorer import Evaluator
from discogp.evaluation.session import AblationSession
from tests.random_task import prompts_of
from tests.slow_reference import slow_logits
from tests.tiny_models import build_tiny_gpt2, build_tiny_llama


@pytest.fixture(scope="module", params=[build_tiny_gpt2, build_tiny_llama], ids=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(request.param(tmp_path_factory.mktemp("model")))


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
@pytest.mark.parametrize("searched", ["edges", "weights", "both"])
@pytest.mark.parametrize("density", [0.1, 0.6])
def test_what_was_searched_is_turned_round_and_nothing_else(
    model: MaskedTransformer, searched: str, ablation: str, density: float
) -> None:
    rng, graph = np.random.default_rng(4), model.graph
    edges = np.ones(graph.n_edges, bool) if searched == "weights" else rng.random(graph.n_edges) < density
    masks = {name: rng.random(tuple(t.shape)) < 0.6 for name, _, _, t in weight_fields(model.weights)}
    weight_masks = None if searched == "edges" else masks
    circuit = Circuit(graph, edges, weight_masks=weight_masks, ablation=ablation, searched=searched)  # type: ignore[arg-type]
    prompts = prompts_of(model, 5, seed=2)
    names = {edge.name for edge in graph.edges}
    kept = {edge.name for edge in graph.edges if edges[edge.index]}

    def expected(kept: set[str], reverse: bool) -> tuple[np.ndarray, np.ndarray]:
        """(likeliest token, KL) of every prompt."""
        chosen = {name: torch.from_numpy(mask != reverse) for name, mask in masks.items()}
        weights = model.weights if searched == "edges" else apply_weight_masks(model.weights, chosen)
        written: dict[str, torch.Tensor] = {}
        slow_logits(weights, graph, names, prompts.tokens if ablation == "mean" else other, written=written)
        if ablation == "mean":
            real = (torch.arange(6) < prompts.lengths[:, None])[:, : prompts.tokens.shape[1], None]
            written = {name: ((x * real).sum((0, 1)) / real.sum()).expand(1, 1, -1) for name, x in written.items()}
        replacements = None if ablation == "zero" else written
        rows = torch.arange(len(prompts))
        logits = slow_logits(weights, graph, kept, prompts.tokens, replacements)[rows, prompts.last]
        full = slow_logits(model.weights, graph, names, prompts.tokens)[rows, prompts.last].log_softmax(-1)
        kl = (full.exp() * (full - logits.log_softmax(-1))).sum(-1)
        return logits.argmax(-1).numpy(), kl.numpy()

    assert prompts.counterfactual is not None
    other = prompts.counterfactual
    evaluator = Evaluator(model, prompts, ablation)  # type: ignore[arg-type]
    scorer = evaluator.scorer(circuit)
    top, kl = expected(kept, reverse=False)
    found = scorer.outcome(circuit.edge_mask)
    np.testing.assert_allclose(found.kl, kl, atol=2e-4)
    assert found.top_token.tolist() == top.tolist()
    top, kl = expected(kept if searched == "weights" else names - kept, reverse=True)
    result = evaluator.evaluate(circuit)
    for outcome in (evaluator.complement(circuit), AblationSession(model, circuit, prompts).complement):
        np.testing.assert_allclose(outcome.kl, kl, atol=2e-4)
        assert outcome.top_token.tolist() == top.tolist()
        assert result.complement == outcome.metrics
    assert result.circuit == found.metrics
    assert result.circuit.kl != pytest.approx(result.complement.kl, abs=1e-2)
    assert result.full.kl == pytest.approx(0, abs=1e-6)
