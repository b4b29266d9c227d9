"""Search steps on answers of several tokens: losses and gradients of a loop over texts, through plain autograd."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor

from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.engine.masks import apply_weight_masks
from discogp.methods.base import get_method
from discogp.methods.discogp.edge_phase import EdgePhase
from discogp.methods.discogp.estimate import _edge_step, estimate
from discogp.methods.discogp.phase import Phase, parts
from discogp.methods.discogp.search import _full_log_probs
from discogp.methods.discogp.settings import EdgeConfig, PhaseConfig, SearchConfig, WeightConfig
from discogp.methods.discogp.weight_phase import WeightPhase
from discogp.methods.random import RandomSettings
from discogp.prompts.prepare import TaskData
from discogp.tasks.encoded import Prompts, Row
from tests.tiny_models import build_tiny_gpt2, build_tiny_llama
from tests.whole_answers import Logits, Slow, random_rows, said

PHASE = PhaseConfig(steps=4, learning_rate=0.05, initial_logit=1.0, completeness=0.7, completeness_from=0.0)
EDGES = EdgeConfig(**asdict(PHASE))
STEP = 2
N = 6


@pytest.fixture(scope="module", params=[build_tiny_gpt2, build_tiny_llama], ids=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    settings = {"n_layer": 2} if request.param is build_tiny_gpt2 else {"num_hidden_layers": 2}
    return load_model(request.param(tmp_path_factory.mktemp("model"), **settings))


def by_hand(kept: Logits, rest: Logits, full: Logits, rows: list[Row], objective: str) -> tuple[Tensor, Tensor]:
    """(faithfulness, completeness), means over the rows."""
    faithful, complete = [], []
    for row in rows:
        ours, theirs = said(kept, row), said(full, row)
        losses = {"task": ours.task_loss(), "kl": ours.kl_from(theirs)}
        faithful.append(losses["task"] + losses["kl"] if objective == "both" else losses[objective])
        complete.append(said(rest, row).completeness_loss())
    return torch.stack(faithful).mean(), torch.stack(complete).mean()


@pytest.mark.parametrize("equal", [True, False], ids=["equal", "unequal"])
@pytest.mark.parametrize(("ablation", "objective"), [("zero", "task"), ("mean", "both"), ("resample", "kl")])
def test_edge_losses_and_mask_gradients_are_those_of_autograd(
    model: MaskedTransformer, ablation: str, objective: str, equal: bool
) -> None:
    rows = random_rows(model, N, seed=5, equal=equal)
    train = Prompts.of(rows)
    search = SearchConfig(objective=objective, ablation=ablation, edges=EDGES)  # type: ignore[arg-type]
    phase = EdgePhase(model, train, search, torch.Generator().manual_seed(3))
    phase.begin(STEP)
    mask = phase._mask.clone().requires_grad_()
    slow, plain = Slow(model, rows, ablation), Slow(model, rows).full()
    kept = slow.keeping({edge.name: mask[edge.row, edge.column] for edge in model.graph.edges})
    rest = slow.keeping({edge.name: 1 - mask[edge.row, edge.column] for edge in model.graph.edges})
    chosen = [4, 1, 3, 0]
    faithful, complete = by_hand(kept, rest, plain, [rows[i] for i in chosen], objective)
    (expected,) = torch.autograd.grad(faithful + PHASE.completeness * complete, mask)

    full = _full_log_probs(model, train)[train.rows_of(chosen)]
    batch = train.subset(chosen)
    found = phase.accumulate(batch, None if objective == "task" else full, 1.0)
    assert float(found.faithfulness) == pytest.approx(faithful.item(), rel=2e-4)
    assert float(found.completeness) == pytest.approx(complete.item(), rel=2e-4)
    scale = float(expected.abs().max())
    assert scale > 1e-3
    torch.testing.assert_close(phase._gradient, expected, rtol=2e-3, atol=2e-4 * scale)


def test_weight_losses_and_gradients_are_those_of_autograd(model: MaskedTransformer) -> None:
    rows = random_rows(model, 3, seed=5)
    train = Prompts.of(rows)
    weights = WeightConfig(**asdict(PHASE))
    search = SearchConfig(mask="weights", objective="both", weights=weights)
    phase = WeightPhase(model, train, search, torch.Generator().manual_seed(3))
    phase.begin(STEP)
    mask = phase._kept.float().requires_grad_()

    def on(mask: Tensor) -> Logits:
        units = phase.units
        masks = {one.name: one.spread(mask).expand(one.grid).reshape(one.weight.shape) for one in units.carriers()}
        return Slow(model, rows, weights=apply_weight_masks(model.weights, masks)).full()

    faithful, complete = by_hand(on(mask), on(1 - mask), Slow(model, rows).full(), rows, "both")
    (expected,) = torch.autograd.grad(faithful + weights.completeness * complete, mask)
    found = phase.accumulate(train, _full_log_probs(model, train), 1.0)
    assert float(found.faithfulness) == pytest.approx(faithful.item(), rel=2e-4)
    assert float(found.completeness) == pytest.approx(complete.item(), rel=2e-4)
    scale = float(expected.abs().max())
    torch.testing.assert_close(phase._gradient, expected, rtol=2e-3, atol=2e-4 * scale)


@pytest.mark.parametrize("kind", [EdgePhase, WeightPhase])
@pytest.mark.parametrize("objective", ["task", "both"])
def test_parts_and_processes_add_up_to_the_batch(
    model: MaskedTransformer, kind: type[EdgePhase] | type[WeightPhase], objective: str
) -> None:
    batch = Prompts.of(random_rows(model, 7, seed=6))
    full = None if objective == "task" else _full_log_probs(model, batch)
    config = replace(PHASE, attribution_span=2.0)
    search = SearchConfig(
        objective=objective, edges=EdgeConfig(**asdict(config)), weights=WeightConfig(**asdict(config))
    )  # type: ignore[arg-type]

    def step(size: int, chosen: list[int]) -> tuple[list[Tensor], Tensor]:
        phase: Phase = kind(model, batch, replace(search, micro_batch=size), torch.Generator().manual_seed(3))
        seen: list[Tensor] = []
        some = None if full is None else full[batch.rows_of(chosen)]
        phase.step(batch.subset(chosen), some, STEP, lambda t: seen.extend(one.clone() for one in t), of=7)
        return seen[:-1], seen[-1]

    (whole,), losses = step(0, [*range(7)])
    (small,), same_losses = step(2, [*range(7)])
    (first,), some = step(0, [0, 1, 2])
    (second,), others = step(3, [3, 4, 5, 6])
    scale = float(whole.abs().max())
    assert scale > 1e-4
    for gradient, figures in ((small, same_losses), (first + second, some + others)):
        torch.testing.assert_close(gradient, whole, atol=1e-4 * scale, rtol=1e-3)
        torch.testing.assert_close(figures, losses, atol=1e-6, rtol=1e-4)


def test_parts_say_which_rows_are_theirs(model: MaskedTransformer) -> None:
    batch = Prompts.of(random_rows(model, 7, seed=6))
    for part, rows, _ in parts(batch, 3):
        assert torch.equal(batch.tokens[rows][:, : part.tokens.shape[1]], part.tokens)


def test_a_step_in_bf16_and_with_recomputing(model: MaskedTransformer) -> None:
    train = Prompts.of(random_rows(model, N, seed=5))
    full = _full_log_probs(model, train)
    search = SearchConfig(objective="both", edges=EDGES, weights=WeightConfig(**asdict(PHASE)))
    found = {}
    for precision, recompute in (("fp32", False), ("fp32", True), ("bf16", False)):
        searched = model.in_precision(precision)  # type: ignore[arg-type]
        for kind in (EdgePhase, WeightPhase):
            phase: Phase = kind(searched, train, replace(search, recompute=recompute), torch.Generator().manual_seed(3))
            found[kind, precision, recompute] = phase.step(train, full, STEP)
    for kind in (EdgePhase, WeightPhase):
        exact = found[kind, "fp32", False]
        assert found[kind, "fp32", True].faithfulness == pytest.approx(exact.faithfulness, rel=1e-5)
        assert found[kind, "bf16", False].faithfulness == pytest.approx(exact.faithfulness, rel=0.1)
        assert found[kind, "bf16", False].completeness == pytest.approx(exact.completeness, rel=0.1)


def test_memory_is_counted_in_rows(model: MaskedTransformer) -> None:
    rows = random_rows(model, 12, seed=6)
    long = Prompts.of(rows)
    short = Prompts.of([replace(row, correct=[row.correct[0][:1]], wrong=[[0]]) for row in rows])
    assert long.n_rows > 2 * short.n_rows
    config = SearchConfig(objective="task", batch_size=8, edges=EDGES)
    figures = []
    for prompts in (short, long):
        padded = replace(prompts, tokens=torch.nn.functional.pad(prompts.tokens, (0, 12 - prompts.tokens.shape[1])))
        data = TaskData(padded, padded, padded, task_name="t", full_accuracy=1.0, kept_share=1.0)
        found = estimate(model, data, config, 1e6)
        figures.append((found.parts_mb, get_method("random").estimate(model, data, RandomSettings(), 1e6)))
    (one, one_random), (many, many_random) = figures
    assert many["buffers"] / one["buffers"] == pytest.approx(long.most_rows(8) / 8)
    assert many["passing"] / one["passing"] == pytest.approx(long.n_rows / 12, rel=1e-3)  # an evaluation's
    assert many_random.memory_mb / one_random.memory_mb == pytest.approx(long.n_rows / 12, rel=1e-3)
    vocabulary = _edge_step(model, 10, 6, config, True) - _edge_step(model, 10, 6, config, False)
    assert vocabulary == 10 * model.config.d_vocab * 4 * 6
