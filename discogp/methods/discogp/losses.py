"""What a circuit is searched for: it does the task (faithful), and the rest does not (complete).

Axes: prompt b, row r, vocabulary V, right answers C, wrong answers W (places, −1 pads prompts with fewer). `scores` are
logits or, of answers of several tokens, the sums of their log-probabilities (`evaluation.candidates`).
Losses are means over prompts, in nats. Source: arXiv 2407.03779, section 3.3; the full-vocabulary KL is there because a
circuit trained on two logits ranks those two rightly while the model's own next word is lost.
"""

from __future__ import annotations

import torch
from torch import Tensor

from discogp.evaluation.candidates import Candidates, along_right_answers
from discogp.evaluation.measures import candidate_logits, kl_divergence
from discogp.tasks.encoded import Prompts
from discogp.terms import Objective


def task_cross_entropy(scores: Tensor, correct: Tensor, wrong: Tensor) -> Tensor:
    """−log of the probability that falls on a right answer, among the candidates only."""
    right = candidate_logits(scores, correct).logsumexp(1)
    everything = torch.logaddexp(right, candidate_logits(scores, wrong).logsumexp(1))
    return (everything - right).mean()


def faithfulness_loss(logits: Tensor, full_log_probs: Tensor | None, batch: Prompts, objective: Objective) -> Tensor:
    """Task cross-entropy, full-vocabulary KL to the full model, or their sum, from the logits [r, V] of a batch's rows.

    Of answers of several tokens the KL is that of `along_right_answers`.
    """
    loss = logits.new_zeros(())
    if objective in ("task", "both"):
        found = Candidates.of(logits, batch)
        loss = loss + task_cross_entropy(found.scores, found.correct, found.wrong)
    if objective in ("kl", "both"):
        assert full_log_probs is not None
        loss = loss + along_right_answers(kl_divergence(full_log_probs, logits), batch).mean()
    return loss


def completeness_loss(scores: Tensor, correct: Tensor, wrong: Tensor) -> Tensor:
    """Cross-entropy of the complement's answer from the uniform distribution over right and wrong.

    Uniform over the two *sides*, so that with many wrong answers the complement is not asked to know that most
    candidates are wrong; for two candidates it is the paper's. Its least value is log 2.
    """
    right = candidate_logits(scores, correct).logsumexp(1)
    other = candidate_logits(scores, wrong).logsumexp(1)
    return (torch.logaddexp(right, other) - 0.5 * (right + other)).mean()
