"""The measures by hand: ties, several answers, padding, and means over batches of unequal size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from discogp.engine.masked_transformer import load_model
from discogp.evaluation.measures import answers_right, candidate_logits, logit_difference
from discogp.evaluation.outcome import Outcome
from discogp.evaluation.scorer import Scorer, mean_replacement
from discogp.tasks import Example, Prompts
from tests.tiny_models import build_tiny_gpt2

LOGITS = torch.tensor([[3.0, 1.0, 2.0, -1.0]] * 5)


def test_the_best_right_answer_must_be_above_the_best_wrong_one() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0, 2.0]] * 5)
    correct = torch.tensor([[0, -1], [2, -1], [1, 0], [1, -1], [1, 2]])
    wrong = torch.tensor([[1, 2], [3, -1], [2, 3], [2, -1], [3, -1]])
    assert answers_right(logits, correct, wrong).tolist() == [True, False, True, False, False]  # ties are wrong


def test_padding_is_no_answer_even_where_all_logits_are_negative() -> None:
    logits = LOGITS - 10
    correct, wrong = torch.tensor([[1, -1]] * 5), torch.tensor([[0, -1]] * 5)
    assert candidate_logits(logits, correct)[0].tolist() == [-9.0, float("-inf")]
    assert not answers_right(logits, correct, wrong).any()
    assert answers_right(logits, wrong, correct).all()


def test_the_difference_is_of_the_mean_logits() -> None:
    correct = torch.tensor([[0, -1], [0, 1], [3, -1], [1, 2], [0, 3]])
    wrong = torch.tensor([[1, 3, -1], [2, -1, -1], [0, 1, 2], [0, -1, -1], [1, 2, -1]])
    expected = [3 - 0, 2 - 2, -1 - 2, 1.5 - 3, 1 - 1.5]
    assert logit_difference(LOGITS, correct, wrong).tolist() == pytest.approx(expected)


def test_one_of_several_right_answers_is_enough_for_top_1(tmp_path: Path) -> None:
    model = load_model(build_tiny_gpt2(tmp_path, n_layer=1))
    tokens = torch.randint(1, 97, (3, 4), generator=torch.Generator().manual_seed(8))
    lengths = torch.full((3,), 4)
    ranked = model.logits(tokens, lengths - 1).argsort(-1, descending=True)
    correct = torch.stack([ranked[:, 7], ranked[:, 0]], dim=1)
    correct[1, 1] = -1
    correct[2] = ranked[2, :2]
    examples = tuple(Example(f"{i}", None, (" a",), (" b",)) for i in range(3))
    prompts = Prompts(tokens, lengths, None, correct, ranked[:, 3:4], examples)
    found = Scorer(model, prompts).full
    assert found.top_is_right.tolist() == [True, False, True]
    assert found.correct.tolist() == [True, False, True]
    assert (found.metrics.top1, found.metrics.n) == (pytest.approx(2 / 3), 3)


def test_a_mean_over_batches_is_the_mean_over_all_tokens(tmp_path: Path) -> None:
    model = load_model(build_tiny_gpt2(tmp_path, n_layer=1))
    tokens = torch.randint(1, 97, (5, 6), generator=torch.Generator().manual_seed(8))
    lengths = torch.tensor([6, 1, 2, 5, 3])
    ids = torch.zeros(5, 1, dtype=torch.long)
    prompts = Prompts(
        tokens, lengths, None, ids, ids + 1, tuple(Example(f"{i}", None, (" a",), (" b",)) for i in range(5))
    )
    outputs = model.source_outputs(tokens)
    real = torch.cat([outputs[:, i, : int(n)] for i, n in enumerate(lengths)], dim=1)
    for size in (1, 2, 5):
        found = mean_replacement(model, list(prompts.batches(size)), model.folded).sources
        torch.testing.assert_close(found[:, 0, 0], real.mean(1), atol=1e-5, rtol=1e-4)


def test_figures_of_a_split_are_means_of_their_own_columns() -> None:
    correct, top_is_right = np.array([True, True, False, True]), np.array([False, True, False, False])
    differences, divergences = np.float32([1, 2, 3, 6]), np.float32([0, 0, 1, 3])
    metrics = Outcome(correct, np.array([5, 6, 7, 8]), top_is_right, differences, divergences).metrics
    assert (metrics.accuracy, metrics.top1, metrics.logit_diff, metrics.kl, metrics.n) == (0.75, 0.25, 3.0, 1.0, 4)
    assert metrics.to_json() == {"accuracy": 0.75, "top1": 0.25, "kl": 1.0, "logit_diff": 3.0, "n": 4}
