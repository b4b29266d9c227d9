"""Prompts of different lengths in one batch: what stands behind a prompt's end changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from discogp import load_model
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.evaluation.scorer import Scorer
from discogp.tasks import Example, Prompts
from discogp.terms import Ablation
from tests.tiny_models import VOCABULARY, build_tiny_gpt2, build_tiny_llama

LENGTHS = torch.tensor([3, 9, 5, 7, 4, 6])


@pytest.fixture(scope="module", params=[build_tiny_gpt2, build_tiny_llama], ids=["learned", "rotary"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(request.param(tmp_path_factory.mktemp("padding")))


def prompts(extra: int = 0, seed: int = 0) -> Prompts:
    """The same prompts, with `extra` more columns of padding; `seed` fills the padding."""
    n, width = len(LENGTHS), int(LENGTHS.max())
    generator = torch.Generator().manual_seed(11)
    words, others = torch.randint(1, VOCABULARY, (2, n, width), generator=generator)
    answers = torch.randperm(VOCABULARY - 1, generator=generator)[: 2 * n].reshape(2, n, 1) + 1

    def pad(tokens: Tensor) -> Tensor:
        fill = torch.randint(0, VOCABULARY, (n, width + extra), generator=torch.Generator().manual_seed(seed))
        real = torch.arange(width + extra) < LENGTHS[:, None]
        return torch.where(real, torch.nn.functional.pad(tokens, (0, extra)), fill)

    examples = tuple(Example(f"prompt {i}", None, (" a",), (" b",)) for i in range(n))
    return Prompts(pad(words), LENGTHS, pad(others), answers[0], answers[1], examples)


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
@pytest.mark.parametrize("kept", [0.05, 0.8], ids=["sparse", "dense"])
def test_padding_changes_no_outcome(model: MaskedTransformer, ablation: Ablation, kept: float) -> None:
    mask = np.random.default_rng(3).random(model.graph.n_edges) < kept
    first = Scorer(model, prompts(), ablation)
    for other in (prompts(extra=5, seed=1), replace(prompts(seed=2), counterfactual=prompts(seed=4).counterfactual)):
        second = Scorer(model, other, ablation)
        for a, b in ((first.outcome(mask), second.outcome(mask)), (first.full, second.full)):
            np.testing.assert_allclose(a.logit_diff, b.logit_diff, atol=2e-4)
            np.testing.assert_allclose(a.kl, b.kl, atol=2e-4)


@pytest.mark.parametrize("ablation", ["zero", "resample"])
@pytest.mark.parametrize("kept", [0.05, 0.8], ids=["sparse", "dense"])
def test_a_prompt_alone_is_answered_as_in_the_batch(model: MaskedTransformer, ablation: Ablation, kept: float) -> None:
    mask = np.random.default_rng(4).random(model.graph.n_edges) < kept
    together = Scorer(model, prompts(), ablation).outcome(mask)
    for i in range(len(LENGTHS)):
        alone = Scorer(model, prompts().subset([i]), ablation).outcome(mask)
        np.testing.assert_allclose(alone.logit_diff[0], together.logit_diff[i], atol=2e-4)
