"""A drawn mask and its slope against their definition: s = σ((ℓ + c·g)/τ), hard where s > 1/2, slope ds/dℓ."""

from __future__ import annotations

import pytest
import torch

from discogp.methods.discogp.sampling import sample

LOGITS = torch.linspace(-4, 4, 60).view(5, 12)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_a_sample_is_the_one_of_the_definition(temperature: float, noise: float) -> None:
    drawn = sample(LOGITS, temperature, noise, torch.Generator().manual_seed(7))
    logits = LOGITS.double().requires_grad_()
    u = torch.rand(LOGITS.shape, generator=torch.Generator().manual_seed(7)).clamp(1e-6, 1 - 1e-6).double()
    soft = torch.sigmoid((logits + noise * (u.log() - (1 - u).log())) / temperature)
    (slope,) = torch.autograd.grad(soft.sum(), logits)
    assert torch.equal(drawn.hard, (soft > 0.5).float())
    torch.testing.assert_close(drawn.slope, slope.float(), rtol=1e-3, atol=1e-5)
    assert float(drawn.slope.max()) > 0.01


def test_without_noise_it_is_a_threshold() -> None:
    assert torch.equal(sample(LOGITS, 0.1, 0.0, torch.Generator()).hard, (LOGITS > 0).float())


def test_with_the_papers_noise_an_edge_is_kept_with_its_probability() -> None:
    """P(ℓ + g > 0) = σ(ℓ), at any temperature."""
    for logit in (-2.0, 0.0, 1.0):
        drawn = sample(torch.full((200_000,), logit), 0.3, 1.0, torch.Generator().manual_seed(0)).hard
        expected = float(torch.tensor(logit).sigmoid())
        assert float(drawn.mean()) == pytest.approx(expected, abs=0.006)  # five standard deviations
        assert set(drawn.tolist()) == {0.0, 1.0}


def test_a_draw_of_exactly_zero_or_one_has_a_finite_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor([0.0, 1.0]))
    drawn = sample(torch.zeros(2), 1.0, 1.0, torch.Generator())
    assert drawn.hard.tolist() == [0.0, 1.0]
    assert torch.isfinite(drawn.slope).all()


def test_without_noise_a_draw_of_exactly_zero_or_one_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its logit is infinite, and infinity times no noise is not a number."""
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.tensor([0.0, 1.0]))
    drawn = sample(torch.tensor([2.0, -2.0]), 1.0, 0.0, torch.Generator())
    assert drawn.hard.tolist() == [1.0, 0.0]
    assert torch.isfinite(drawn.slope).all()
