"""The edge step against autograd through the same relaxed sample, reader by reader, with everything written out here.

Nothing of the phase is used on the reference's side: neither its schedules, losses and sampling, nor the engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.engine.masks import apply_weight_masks, weight_fields
from discogp.methods.discogp.edge_phase import EdgePhase
from discogp.methods.discogp.settings import EdgeConfig, SearchConfig
from discogp.models.weights import ModelWeights
from discogp.tasks import Example, Prompts
from tests.slow_reference import slow_logits
from tests.tiny_models import build_tiny_gpt2, build_tiny_llama

TAU, SPREAD, INITIAL, SPAN = 0.7, 1.0, 0.5, 2.0
PHASE = EdgeConfig(
    steps=11, learning_rate=0.2, weight_decay=0.05, initial_logit=INITIAL, initial_spread=SPREAD, temperature=TAU,
    noise=0.9, noise_end=0.3, sparsity_start=5.0, sparsity_peak=45.0, sparsity_end=20.0, rise=0.5, fall=0.3,
    completeness=0.6, completeness_from=0.3,
)  # fmt: skip
# Step: (c, λ_s, λ_c) of these settings, by hand.
AT = {0: (0.9, 5.0, 0.0), 3: (0.72, 29.0, 0.0), 6: (0.54, 45 - 25 / 3, 0.6), 10: (0.3, 20.0, 0.6)}
# Every ablation with every objective, on the model's own weights or on kept ones.
CASES = [
    ("zero", "task", False), ("mean", "kl", False), ("resample", "both", False),
    ("zero", "both", True), ("mean", "task", True), ("resample", "kl", True),
]  # fmt: skip


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "gpt2":
        return load_model(build_tiny_gpt2(folder, n_layer=2))
    return load_model(build_tiny_llama(folder, num_hidden_layers=2))


def prompts() -> Prompts:
    """Nine prompts of unequal lengths, with one right answer or two and one wrong answer to three."""
    generator = torch.Generator().manual_seed(5)
    tokens, other = torch.randint(1, 97, (2, 9, 6), generator=generator)
    answers = torch.stack([torch.randperm(97, generator=generator)[:5] for _ in range(9)])
    answers[::2, 1] = -1
    answers[1::2, 3:] = -1
    lengths = torch.tensor([6, 3, 5, 4, 6, 3, 5, 6, 4])
    examples = tuple(Example(f"{i}", None, (" a",), (" b",)) for i in range(9))
    return Prompts(tokens, lengths, other, answers[:, :2], answers[:, 2:], examples)


def random_masks(model: MaskedTransformer) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    return {name: rng.random(tuple(tensor.shape)) < 0.7 for name, _, _, tensor in weight_fields(model.weights)}


def by_hand(logits: Tensor, batch: Prompts, full: Tensor, objective: str) -> tuple[Tensor, Tensor]:
    """(faithfulness, completeness) of logits [b, V] at the last positions, prompt by prompt."""
    faithful, complete = [], []
    for row, p, right, wrong in zip(logits, full.exp(), batch.correct, batch.wrong, strict=True):
        side = [row[ids[ids >= 0]].exp().sum() for ids in (right, wrong)]
        share = side[0] / (side[0] + side[1])
        task, kl = -share.log(), (p * (p.log() - row.log_softmax(0))).sum()
        faithful.append({"task": task, "kl": kl, "both": task + kl}[objective])
        complete.append(-0.5 * share.log() - 0.5 * (1 - share).log())
    return torch.stack(faithful).mean(), torch.stack(complete).mean()


@dataclass
class Reference:
    """A model that keeps a share of every edge, on some weights."""

    model: MaskedTransformer
    weights: ModelWeights
    ablation: str
    means: dict[str, Tensor] | None = None

    @classmethod
    def of(
        cls, model: MaskedTransformer, masks: dict[str, np.ndarray] | None, ablation: str, train: Prompts
    ) -> Reference:
        weights = model.weights
        if masks is not None:
            weights = apply_weight_masks(weights, {name: torch.from_numpy(mask) for name, mask in masks.items()})
        found = cls(model, weights, ablation)
        if ablation == "mean":
            real = (torch.arange(train.tokens.shape[1]) < train.lengths[:, None]).float()[..., None]
            written = found.written(train.tokens)
            found.means = {name: ((x * real).sum((0, 1)) / real.sum()).expand(1, 1, -1) for name, x in written.items()}
        return found

    def written(self, tokens: Tensor) -> dict[str, Tensor]:
        written: dict[str, Tensor] = {}
        graph = self.model.graph
        slow_logits(self.weights, graph, {edge.name for edge in graph.edges}, tokens, written=written)
        return written

    def logits(self, mask: Tensor, batch: Prompts) -> Tensor:
        """[b, V] with so much [R, P] of every edge."""
        replacements = self.means
        if self.ablation == "resample":
            assert batch.counterfactual is not None
            replacements = self.written(batch.counterfactual)
        graph = self.model.graph
        kept = {edge.name: mask[edge.row, edge.column] for edge in graph.edges}
        return slow_logits(self.weights, graph, kept, batch.tokens, replacements)[torch.arange(len(batch)), batch.last]


def full_log_probs(model: MaskedTransformer, batch: Prompts) -> Tensor:
    graph = model.graph
    logits = slow_logits(model.weights, graph, {edge.name for edge in graph.edges}, batch.tokens)
    return logits[torch.arange(len(batch)), batch.last].log_softmax(-1)


@pytest.mark.parametrize(("ablation", "objective", "sheaf"), CASES)
def test_steps_are_those_of_autograd_through_one_relaxed_sample(
    model: MaskedTransformer, ablation: str, objective: str, sheaf: bool
) -> None:
    train, masks = prompts(), random_masks(model) if sheaf else None
    search = SearchConfig(objective=objective, ablation=ablation, edges=PHASE)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(3)
    phase = EdgePhase(model, train, search, generator, masks)
    kept = Reference.of(model, masks, ablation, train)
    reverse = Reference.of(model, None if masks is None else {k: ~v for k, v in masks.items()}, ablation, train)
    exists = torch.from_numpy(model.graph.exists)
    logits = phase.logits.detach().clone().requires_grad_()
    adamw = torch.optim.AdamW([logits], lr=0.2, weight_decay=0.05)
    batch = train.subset([7, 2, 3, 8, 0])
    full = full_log_probs(model, batch)

    for step, (noise, sparsity, completeness) in AT.items():
        twin = torch.Generator()
        twin.set_state(generator.get_state())
        u = torch.rand(logits.shape, generator=twin).clamp(1e-6, 1 - 1e-6)
        soft = torch.sigmoid((logits + noise * (u.log() - (1 - u).log())) / TAU)
        mask = (soft > 0.5).float() + soft - soft.detach()
        faithful, _ = by_hand(kept.logits(mask, batch), batch, full, objective)
        _, complete = by_hand(reverse.logits(1 - mask, batch), batch, full, objective)
        density = logits.sigmoid()[exists].mean()
        adamw.zero_grad()
        (faithful + completeness * complete + sparsity * density).backward()

        report = phase.step(batch, None if objective == "task" else full, step)
        assert report.faithfulness == pytest.approx(faithful.item(), rel=1e-4)
        assert report.completeness == pytest.approx(complete.item() if completeness else 0.0, rel=1e-4)
        assert report.sparsity == pytest.approx(density.item(), rel=1e-5)
        assert logits.grad is not None
        assert phase.logits.grad is not None
        scale = float(logits.grad.abs().max())
        assert scale > 1e-3
        torch.testing.assert_close(phase.logits.grad, logits.grad, rtol=1e-3, atol=1e-4 * scale)
        logits.grad.copy_(phase.logits.grad)  # AdamW's first step magnifies the rounding of tiny gradients
        adamw.step()
        torch.testing.assert_close(phase.logits, logits, rtol=1e-5, atol=1e-6)


def drawn_masks(shape: torch.Size, generator: torch.Generator) -> Iterator[Tensor]:
    for keep in (1.0, 0.97, 0.93, 0.88, 0.8):
        yield (torch.rand(shape, generator=generator) < keep).float()


@pytest.mark.parametrize(("ablation", "objective", "sheaf"), [("zero", "both", False), ("resample", "task", True)])
def test_edges_start_by_the_rank_of_the_size_of_their_gradient(
    model: MaskedTransformer, ablation: str, objective: str, sheaf: bool
) -> None:
    train, masks = prompts(), random_masks(model) if sheaf else None
    config = replace(PHASE, attribution_span=SPAN)
    search = SearchConfig(objective=objective, ablation=ablation, edges=config)  # type: ignore[arg-type]
    phase = EdgePhase(model, train, search, torch.Generator().manual_seed(3), masks)
    twin = torch.Generator().manual_seed(3)
    start = INITIAL + SPREAD * torch.randn(phase.logits.shape, generator=twin)
    reference = Reference.of(model, masks, ablation, train)
    full = full_log_probs(model, train)
    exists = torch.from_numpy(model.graph.exists)
    attribution = torch.zeros_like(start)
    signs = set()
    for mask in drawn_masks(start.shape, twin):
        mask.requires_grad_()
        faithful, _ = by_hand(reference.logits(mask, train), train, full, objective)
        (gradient,) = torch.autograd.grad(faithful, mask)
        attribution += gradient.abs()
        signs |= set(gradient[exists].sign().tolist())
    assert {-1.0, 1.0} <= signs, "else sizes and gradients rank alike"
    scores = attribution[exists]
    ranks = scores.argsort().argsort().float() / (len(scores) - 1)
    lifted = (phase.logits.detach() - start)[exists]
    torch.testing.assert_close(lifted, SPAN * ranks**3, rtol=0, atol=3 * 3 * SPAN / len(scores))  # within three places
    assert float((lifted - SPAN * ranks**3).abs().lt(1e-4).float().mean()) > 0.9
    assert float(lifted.max()) == pytest.approx(SPAN, abs=1e-4)
