"""What a step leaves alone: decided edges, and the prompts that the completeness loss is not taken on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from discogp.engine import masked_transformer
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.methods.discogp.edge_phase import EdgePhase
from discogp.methods.discogp.phase import Checked, Phase
from discogp.methods.discogp.settings import EdgeConfig, PhaseConfig, SearchConfig, WeightConfig
from discogp.methods.discogp.weight_phase import WeightPhase
from discogp.tasks.encoded import Prompts
from discogp.terms import Ablation
from tests.methods.discogp.test_edge_step import Reference, by_hand, full_log_probs, prompts
from tests.tiny_models import build_tiny_gpt2

EDGES = EdgeConfig(
    steps=20, learning_rate=0.2, initial_logit=-1.0, initial_spread=2.0, noise=0.5, noise_end=0.5, sparsity_start=9.0,
    completeness=0.5, decided_below=-1.5, full_every=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(build_tiny_gpt2(tmp_path_factory.mktemp("gpt2"), n_layer=2))


def test_a_decided_edge_is_off_and_stays_where_it_is_until_the_next_full_step(model: MaskedTransformer) -> None:
    """Against a step written by hand: a reference model, AdamW on the open logits, the decided ones put back."""
    train = prompts()
    phase = EdgePhase(model, train, SearchConfig(objective="both", edges=EDGES), torch.Generator().manual_seed(3))
    reference = Reference.of(model, None, "zero", train)
    exists = torch.from_numpy(model.graph.exists)
    logits = phase.logits.detach().clone().requires_grad_()
    adamw = torch.optim.AdamW([logits], lr=0.2, weight_decay=0.0)
    full = full_log_probs(model, train)
    decided_at: list[float] = []
    for step in (0, 1, 2, 3, 4, 5):
        twin = torch.Generator()
        twin.set_state(phase.generator.get_state())
        phase.step(train, full, step)
        uniform = torch.rand(logits.shape, generator=twin).clamp(1e-6, 1 - 1e-6)
        relaxed = torch.sigmoid(logits + 0.5 * (uniform.log() - (1 - uniform).log()))
        open_ = exists if step % 4 == 0 else exists & (logits.detach() >= -1.5)
        decided_at.append(float((exists & ~open_).float().sum() / exists.sum()))
        soft = torch.where(open_, relaxed, 0.0)
        mask = ((relaxed > 0.5) & open_) + (soft - soft.detach())
        faithful, _ = by_hand(reference.logits(mask, train), train, full, "both")
        _, complete = by_hand(reference.logits(exists.float() - mask, train), train, full, "both")
        sparse = (logits.sigmoid() * open_).sum() / model.graph.n_edges
        adamw.zero_grad()
        (faithful + 0.5 * complete + EDGES.sparsity_at(step) * sparse).backward()
        before = logits.detach().clone()
        adamw.step()
        with torch.no_grad():
            logits.copy_(torch.where(exists & ~open_, before, logits))
        torch.testing.assert_close(phase.logits * exists, logits * exists, rtol=1e-4, atol=2e-4)
    assert decided_at[0] == decided_at[4] == 0
    assert min(decided_at[1], decided_at[2], decided_at[5]) > 0.1


def test_the_engine_is_asked_for_open_edges_alone(model: MaskedTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Tensor | None] = []
    plain = masked_transformer.MaskedTransformer.masked

    def noted(self: MaskedTransformer, *given: object, **named: object) -> object:
        wanted = named.get("wanted")
        assert wanted is None or isinstance(wanted, Tensor)
        asked.append(wanted)
        return plain(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(masked_transformer.MaskedTransformer, "masked", noted)
    phase = EdgePhase(model, prompts(), SearchConfig(objective="task", edges=EDGES), torch.Generator().manual_seed(3))
    for step in (0, 1):
        open_ = (phase.logits.detach() >= -1.5) & torch.from_numpy(model.graph.exists)
        asked.clear()
        phase.step(prompts(), None, step)
        if step == 0:
            assert asked == 2 * phase.lanes.n * [None]
        else:
            assert all(wanted is not None and torch.equal(wanted, open_) for wanted in asked)


def test_checked_prompts_are_spread_over_the_batch_and_shared_out_with_it() -> None:
    whole = Checked.of_batch(16, 0.25)
    assert whole == Checked((0, 4, 8, 12), 1.0)
    assert whole.within(range(4, 10)) == Checked((0, 4), 0.5)
    assert whole.within(range(13, 16)) == Checked((), 0.0)
    assert Checked.of_batch(3, 0.01).places == (0,)
    assert Checked.of_batch(5, 1.0).places == (0, 1, 2, 3, 4)
    assert Checked.of_batch(0, 0.25).places == ()


@pytest.mark.parametrize(
    ("kind", "ablation"), [(WeightPhase, "zero"), (EdgePhase, "zero"), (EdgePhase, "mean"), (EdgePhase, "resample")]
)
def test_the_completeness_loss_is_that_of_the_checked_prompts_however_the_batch_is_shared_out(
    model: MaskedTransformer, kind: type[EdgePhase] | type[WeightPhase], ablation: Ablation
) -> None:
    """The difference that λ_c makes to the gradient is that of a batch of the checked prompts alone."""
    train = prompts()
    full = full_log_probs(model, train)
    phases = PhaseConfig(steps=9, initial_logit=1.0, completeness=0.7, completeness_share=0.34)

    def gradient(batch: Prompts, settings: PhaseConfig, micro_batch: int = 0, parts: int = 1) -> tuple[Tensor, float]:
        edges = EdgeConfig(**vars(settings))
        weights = WeightConfig(**vars(settings))
        search = SearchConfig(edges=edges, weights=weights, micro_batch=micro_batch, ablation=ablation)
        total, said = None, 0.0
        for part in range(parts):
            phase: Phase = kind(model, train, search, torch.Generator().manual_seed(3))
            places = range(len(batch) * part // parts, len(batch) * (part + 1) // parts)
            mine = Checked.of_batch(len(batch), settings.completeness_share).within(places)
            known = full[places.start : places.stop] if len(batch) == len(train) else full[[0, 3, 6]]
            seen: list[Tensor] = []
            phase.step(
                batch.subset(places), known, 2, lambda t, to=seen: to.extend(x.clone() for x in t), len(batch), mine
            )
            total = seen[0] if total is None else total + seen[0]
            said += float(seen[-1][1])
        assert total is not None
        return total, said

    found, told = gradient(train, phases)
    without, _ = gradient(train, replace(phases, completeness=0.0))
    three = train.subset([0, 3, 6])
    of_three, loss = gradient(three, replace(phases, completeness_share=1.0))
    of_three_without, _ = gradient(three, replace(phases, completeness=0.0))
    size = float(found.abs().max())
    torch.testing.assert_close(found - without, of_three - of_three_without, atol=1e-4 * size, rtol=1e-3)
    assert told == pytest.approx(loss, rel=1e-4)
    for micro_batch, parts in ((2, 1), (4, 1), (0, 2), (2, 3)):
        again, said = gradient(train, phases, micro_batch, parts)
        torch.testing.assert_close(again, found, atol=1e-4 * size, rtol=1e-3)
        assert said == pytest.approx(told, rel=1e-4)
