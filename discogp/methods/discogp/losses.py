"""What a circuit is searched for: it does the task (faithful), and the rest does not (complete).

Axes: prompt b, vocabulary V, right answers C, wrong answers W (token ids, −1 pads prompts with fewer).
Losses are means over prompts, in nats. Source: arXiv 2407.03779, section 3.3; the full-vocabulary KL is there because a
circuit trained on two logits ranks those two rightly while the model's own next word is lost.
"""

from __future__ import annotations

import torch
from torch import Tensor

from discogp.evaluation.measures import candidate_logits, kl_divergence
from discogp.terms import Objective


def task_cross_entropy(logits: Tensor, correct: Tensor, wrong: Tensor) -> Tensor:
    """−log of the probability that falls on a right answer, among the candidates only."""
    right = candidate_logits(logits, correct).logsumexp(1)
    everything = torch.logaddexp(right, candidate_logits(logits, wrong).logsumexp(1))
    return (everything - right).mean()


def faithfulness_loss(
    logits: Tensor, full_log_probs: Tensor | None, correct: Tensor, wrong: Tensor, objective: Objective
) -> Tensor:
    """Task cross-entropy, full-vocabulary KL to the full model, or their sum."""
    loss = logits.new_zeros(())
    if objective in ("task", "both"):
        loss = loss + task_cross_entropy(logits, correct, wrong)
    if objective in ("kl", "both"):
        assert full_log_probs is not None
        loss = loss + kl_divergence(full_log_probs, logits).mean()
    return loss


def completeness_loss(logits: Tensor, correct: Tensor, wrong: Tensor) -> Tensor:
    """Cross-entropy of the complement's answer from the uniform distribution over right and wrong.

    Uniform over the two *sides*, so that with many wrong answers the complement is not asked to know that most
    candidates are wrong; for two candidates it is the paper's. Its least value is log 2.
    """
    right = candidate_logits(logits, correct).logsumexp(1)
    other = candidate_logits(logits, wrong).logsumexp(1)
    return (torch.logaddexp(right, other) - 0.5 * (right + other)).mean()
