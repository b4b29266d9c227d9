"""Few edges on, or few off: values and gradients against autograd through the slow reference, reader by reader."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from discogp.engine import gathered_pass, gathering, masked_transformer
from discogp.engine.gathered_pass import GatheredPass, differences
from discogp.engine.gathering import Places, weight_gradients, weighted_sums
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.engine.replacement import Replacement
from discogp.engine.workspace import Workspace
from tests.slow_reference import slow_logits
from tests.tiny_models import TINY, build_tiny

LAST = torch.tensor([5, 2, 4])


@pytest.fixture(scope="module", params=TINY)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(build_tiny(request.param, tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of every pass by few edges that was run, whether they were few off."""
    found: list[bool] = []

    class Noted(GatheredPass):
        def forward(self, mask: Tensor) -> Tensor:
            found.append(self.off)
            return super().forward(mask)

    monkeypatch.setattr(masked_transformer, "GatheredPass", Noted)
    return found


def tokens_of(model: MaskedTransformer, seed: int) -> Tensor:
    return torch.randint(0, model.config.d_vocab, (3, 6), generator=torch.Generator().manual_seed(seed))


def few_of(model: MaskedTransformer, off: bool, share: float = 0.1) -> Tensor:
    """A mask [R, P] with a tenth of its edges on, or off, some of them in part; what is outside the graph is noise."""
    generator = torch.Generator().manual_seed(11)
    shape = (model.graph.n_readers, model.graph.n_sources)
    few = (torch.rand(shape, generator=generator) < share) * torch.rand(shape, generator=generator).round(decimals=1)
    return 1 - few if off else few


def expected(
    model: MaskedTransformer, mask: Tensor, replacements: dict[str, Tensor] | None, narrow: bool, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits and the gradient of their sum with `weights`, by autograd through the reference."""
    leaf = mask.clone().requires_grad_()
    kept = {edge.name: leaf[edge.row, edge.column] for edge in model.graph.edges}
    logits = slow_logits(model.weights, model.graph, kept, tokens_of(model, 2), replacements)
    logits = logits[torch.arange(3), LAST] if narrow else logits
    return logits.detach(), torch.autograd.grad((logits * weights).sum(), leaf)[0]


CASES = [
    ("zero", True, False, 140), ("resample", True, True, 1), ("zero", False, True, 1), ("resample", False, False, 140),
    ("resample", True, True, 140), ("zero", False, True, 140),
]  # fmt: skip


@pytest.mark.parametrize(("ablation", "narrow", "off", "readers_at_once"), CASES)
def test_values_and_gradients_are_those_of_the_slow_reference(
    model: MaskedTransformer,
    ablation: str,
    narrow: bool,
    off: bool,
    readers_at_once: int,
    used: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gathered_pass, "READERS_AT_ONCE", readers_at_once)
    mask, other = few_of(model, off), tokens_of(model, 3)
    written: dict[str, Tensor] = {}
    slow_logits(model.weights, model.graph, {edge.name for edge in model.graph.edges}, other, written=written)
    replacement: Replacement | None = model.replacement(ablation, tokens_of(model, 2), other)
    shape = (3, model.config.d_vocab) if narrow else (3, 6, model.config.d_vocab)
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    logits, gradient = expected(model, mask, None if ablation == "zero" else written, narrow, weights)

    exists = torch.from_numpy(model.graph.exists)
    some = exists & (torch.rand(exists.shape, generator=torch.Generator().manual_seed(5)) < 0.1)
    for wanted in (None, some):
        leaf = mask.clone().requires_grad_()
        found = model.masked(
            tokens_of(model, 2), leaf, last=LAST if narrow else None, replacement=replacement, wanted=wanted
        )
        torch.testing.assert_close(found.detach(), logits, atol=1e-4, rtol=0)
        (found * weights).sum().backward()
        assert leaf.grad is not None
        asked = gradient * (exists if wanted is None else wanted)
        torch.testing.assert_close(leaf.grad, asked, atol=1e-4 * float(gradient.abs().max()), rtol=1e-3)
    assert used == [off, off]


def test_many_edges_are_mixed_by_products(model: MaskedTransformer) -> None:
    graph, valid = model.graph, model.valid
    assert differences(graph, few_of(model, off=False, share=0.6), valid) is None
    few = few_of(model, off=False)
    assert differences(graph, few, valid, recompute=True) is None
    assert differences(graph, few, valid.bfloat16()) is None
    found = differences(graph, few, valid)
    assert found is not None
    torch.testing.assert_close(found[0], few * valid)


def test_a_pass_that_is_not_differentiated_keeps_one_block_of_inputs(model: MaskedTransformer) -> None:
    sizes = []
    for tape in (False, True):
        workspace = Workspace()
        leaf = few_of(model, off=False).requires_grad_(tape)
        model.masked(tokens_of(model, 2), leaf, last=LAST, workspace=workspace)
        sizes.append(workspace.buffers["readers"].numel())
    assert sizes[0] <= sizes[1]


def test_bags_are_weighted_sums_of_rows_and_their_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    table, told = torch.randn(12, 5, generator=generator), torch.randn(6, 5, generator=generator)
    members = Places(torch.tensor([0, 2, 3, 0]), torch.full((4,), 4))  # a token's rows are four, one after the other
    weights, sizes = torch.tensor([1.0, 0.5, -2.0, 3.0]), torch.tensor([3, 1])
    rows = table.view(3, 4, 5)
    by_hand = torch.stack([rows[:, 0] + 0.5 * rows[:, 2] - 2 * rows[:, 3], 3 * rows[:, 0]], 1)
    for at_once in (10**6, 1):
        monkeypatch.setattr(gathering, "_NUMBERS_AT_ONCE", at_once)
        out = torch.ones(3, 4, 5)[:, 1:3]
        torch.testing.assert_close(weighted_sums(table, members, weights, sizes, out), by_hand)
        torch.testing.assert_close(weighted_sums(table, members, weights, sizes, out, add=-2.0), -by_hand)

    bags = Places(torch.tensor([0, 0, 0, 1]), torch.full((4,), 2))
    of_bags = told.view(3, 2, 5)[:, [0, 0, 0, 1]]
    for at_once in (10**6, 1):
        monkeypatch.setattr(gathering, "_INDICES_AT_ONCE", at_once)
        found = weight_gradients(told, bags, table, members, 3)
        torch.testing.assert_close(found, (of_bags * rows[:, [0, 2, 3, 0]]).sum((0, 2)))
    nothing = Places(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    assert weighted_sums(table, nothing, weights[:0], torch.tensor([0, 0]), out).abs().sum() == 0
    assert weight_gradients(told, nothing, table, nothing, 3).shape == (0,)
