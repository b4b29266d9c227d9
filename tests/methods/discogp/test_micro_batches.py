"""A batch in parts, with gradients added up, is the batch: same masks drawn, same gradients, same update."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor

from discogp.discovery import discover
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.methods.discogp.edge_phase import EdgePhase
from discogp.methods.discogp.phase import Phase, StepReport
from discogp.methods.discogp.settings import EdgeConfig, PhaseConfig, SearchConfig, WeightConfig
from discogp.methods.discogp.weight_phase import WeightPhase
from tests.random_task import prompts_of, random_data
from tests.tiny_models import build_tiny_gpt2, build_tiny_llama

PHASE = PhaseConfig(steps=4, learning_rate=0.05, initial_logit=1.0, attribution_span=2.0, completeness=0.7)
EDGES = EdgeConfig(**asdict(PHASE))
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
    search = SearchConfig(objective=objective, ablation=ablation, edges=EDGES, weights=WEIGHTS)  # type: ignore[arg-type]
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


@pytest.mark.parametrize("kind", [EdgePhase, WeightPhase])
def test_parts_of_several_processes_add_up_to_the_batch(
    model: MaskedTransformer, kind: type[EdgePhase] | type[WeightPhase]
) -> None:
    """Each process counts its part as a share of the whole batch; what `reduce` is given then adds up to it."""
    search = SearchConfig(edges=EDGES, weights=WEIGHTS)
    whole, _, _ = one_step(kind, model, search)
    batch = prompts_of(model, 10, 0)
    full = model.logits(batch.tokens, batch.last).log_softmax(-1)
    total = [torch.zeros_like(tensor) for tensor in whole]
    for places in (slice(0, 3), slice(3, 10)):
        seen: list[Tensor] = []
        phase: Phase = kind(model, batch, search, torch.Generator().manual_seed(3))
        mine = batch.subset(range(places.start, places.stop))
        phase.step(
            mine, full[places], 2, lambda tensors, seen=seen: seen.extend(t.clone() for t in tensors[:-1]), of=10
        )
        for tensor, part in zip(total, seen, strict=True):
            tensor += part
    for a, b in zip(whole, total, strict=True):
        torch.testing.assert_close(b, a, atol=2e-6 + 2e-5 * float(a.abs().max()), rtol=1e-4)


@pytest.mark.parametrize("mask", ["edges", "both"])
def test_a_whole_search_in_parts_finds_the_same_circuit(model: MaskedTransformer, mask: str) -> None:
    search = SearchConfig(
        mask=mask,
        batch_size=6,
        evaluations=2,
        edges=EDGES,
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


@pytest.mark.parametrize("mask", ["edges", "weights"])
def test_bf16_searches_like_fp32_and_keeps_logits_in_fp32(model: MaskedTransformer, mask: str) -> None:
    prompts = prompts_of(model, 8, seed=3)
    full = model.logits(prompts.tokens, prompts.last).log_softmax(-1)
    found, logits = [], []
    for precision in ("fp32", "bf16"):
        # Without attribution, so that both start from the same logits and draw the same masks.
        edges = replace(EDGES, attribution_span=0.0, initial_logit=4.0)
        config = SearchConfig(mask=mask, batch_size=8, edges=edges, weights=WEIGHTS)
        kind = EdgePhase if mask == "edges" else WeightPhase
        phase = kind(model.in_precision(precision), prompts, config, torch.Generator().manual_seed(0))
        phase.begin(0)
        phase.accumulate(prompts, full, 1.0)
        found.append(phase.gradients()[0].flatten().clone())
        assert torch.isfinite(found[-1]).all()
        phase.update(0)
        logits.append(phase.logits)
    assert [t.dtype for t in (*found, *logits)] == [torch.float32] * 4
    assert torch.cosine_similarity(found[0], found[1], dim=0) > 0.95


def test_a_bf16_search_ends_with_a_circuit_scored_in_fp32(model: MaskedTransformer) -> None:
    config = SearchConfig(mask="both", precision="bf16", batch_size=8, evaluations=2, edges=EDGES, weights=WEIGHTS)
    *_, last = discover(model, random_data(model), config)
    assert last.circuit is not None
    assert model.weights.embed.dtype == torch.float32
