"""A batch in parts, with gradients added up, is the batch: same masks drawn, same gradients, same update."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor

from discogp.discovery import discover
from discogp.masked_transformer import MaskedTransformer, load_model
from discogp.methods.edge_phase import EdgePhase
from discogp.methods.phase import Phase, StepReport
from discogp.methods.weight_phase import WeightPhase
from discogp.settings import PhaseConfig, SearchConfig, WeightConfig
from tests.random_task import prompts_of, random_data
from tests.tiny_models import build_tiny_gpt2, build_tiny_llama

PHASE = PhaseConfig(steps=4, learning_rate=0.05, initial_logit=1.0, attribution_span=2.0, completeness=0.7)
WEIGHTS = WeightConfig(**asdict(PHASE))


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    build = build_tiny_gpt2 if request.param == "gpt2" else build_tiny_llama
    return load_model(build(tmp_path_factory.mktemp(request.param)))


def one_step(
    kind: type[EdgePhase] | type[WeightPhase], model: MaskedTransformer, search: SearchConfig
) -> tuple[list[Tensor], StepReport, list[Tensor]]:
    """Accumulated gradients, report, and mask logits after the update."""
    batch = prompts_of(model, 10, 0)
    phase: Phase = kind(model, batch, search, torch.Generator().manual_seed(3))
    full = None if search.objective == "task" else model.logits(batch.tokens, batch.last).log_softmax(-1)
    seen: list[Tensor] = []
    report = phase.step(batch, full, 2, reduce=lambda tensors: seen.extend(t.clone() for t in tensors[:-1]))
    logits = phase.state()["logits"]
    return seen, report, list(logits.values()) if isinstance(logits, dict) else [logits]


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
@pytest.mark.parametrize("objective", ["task", "kl", "both"])
@pytest.mark.parametrize("kind", [EdgePhase, WeightPhase])
def test_parts_add_up_to_the_batch(
    model: MaskedTransformer, kind: type[EdgePhase] | type[WeightPhase], objective: str, ablation: str
) -> None:
    search = SearchConfig(objective=objective, ablation=ablation, edges=PHASE, weights=WEIGHTS)  # type: ignore[arg-type]
    whole, report, after = one_step(kind, model, search)
    assert max(float(g.abs().max()) for g in whole) > 1e-4, "nothing to compare"
    for size in (3, 1):  # 3 does not divide 10, so parts are of unequal size
        parts, partial, later = one_step(kind, model, replace(search, micro_batch=size))
        for a, b in zip(whole, parts, strict=True):
            torch.testing.assert_close(b, a, atol=2e-6 + 2e-5 * float(a.abs().max()), rtol=1e-4)
        assert partial.faithfulness == pytest.approx(report.faithfulness, rel=1e-5)
        assert partial.completeness == pytest.approx(report.completeness, rel=1e-5)
        assert partial.sparsity == pytest.approx(report.sparsity, rel=1e-6)
        for a, b in zip(after, later, strict=True):
            # AdamW's first step divides each gradient by its own size, which magnifies the rounding of tiny ones.
            assert float((a - b).abs().gt(1e-4).float().mean()) < 0.01


@pytest.mark.parametrize("mask", ["edges", "both"])
def test_a_whole_search_in_parts_finds_the_same_circuit(model: MaskedTransformer, mask: str) -> None:
    search = SearchConfig(
        mask=mask,
        batch_size=6,
        evaluations=2,
        edges=PHASE,
        weights=replace(WEIGHTS, steps=3),  # type: ignore[arg-type]
    )
    whole, parts = (
        list(discover(model, random_data(model), replace(search, micro_batch=size)))[-1].circuit for size in (6, 4)
    )
    assert whole is not None
    assert parts is not None
    assert (whole.edge_mask != parts.edge_mask).mean() < 0.02


@pytest.mark.parametrize("mask", ["edges", "weights"])
def test_recomputed_activations_give_the_same_gradients(model: MaskedTransformer, mask: str) -> None:
    prompts = prompts_of(model, 8, seed=3)
    full = model.logits(prompts.tokens, prompts.last).log_softmax(-1)
    found = []
    for recompute in (False, True):
        config = SearchConfig(mask=mask, batch_size=8, recompute=recompute)
        kind = EdgePhase if mask == "edges" else WeightPhase
        phase = kind(model, prompts, config, torch.Generator().manual_seed(0))
        phase.begin(0)
        phase.accumulate(prompts, full, 1.0)
        found.append(phase.gradients()[0].clone())
    torch.testing.assert_close(found[1], found[0], atol=1e-6, rtol=1e-4)
