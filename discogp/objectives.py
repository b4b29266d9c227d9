"""What a circuit is searched for: it does the task (faithful), the rest does not (complete), and it is small (sparse).

Axes: prompt b, vocabulary V, right answers C, wrong answers W (token ids, −1 pads prompts with fewer).
Losses are means over prompts, in nats. Source: arXiv 2407.03779, section 3.3; the full-vocabulary KL is there because a
circuit trained on two logits ranks those two rightly while the model's own next word is lost.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from discogp.settings import Objective


def candidate_logits(logits: Tensor, ids: Tensor) -> Tensor:
    """Logits [b, C] of the candidate ids [b, C] out of the vocabulary's [b, V]; −inf where the id is padding."""
    return logits.gather(1, ids.clamp_min(0)).masked_fill(ids < 0, float("-inf"))


def task_cross_entropy(logits: Tensor, correct: Tensor, wrong: Tensor) -> Tensor:
    """−log of the probability that falls on a right answer, among the candidates only."""
    right = candidate_logits(logits, correct).logsumexp(1)
    everything = torch.logaddexp(right, candidate_logits(logits, wrong).logsumexp(1))
    return (everything - right).mean()


def kl_divergence(full_log_probs: Tensor, logits: Tensor) -> Tensor:
    """KL(full ‖ circuit) [b] over the whole vocabulary, from the full model's log-probabilities [b, V]."""
    return F.kl_div(logits.log_softmax(-1), full_log_probs, reduction="none", log_target=True).sum(-1)


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


def logit_difference(logits: Tensor, correct: Tensor, wrong: Tensor) -> Tensor:
    """[b] mean logit of the right answers less that of the wrong ones."""
    return _mean(logits, correct) - _mean(logits, wrong)


def answers_right(logits: Tensor, correct: Tensor, wrong: Tensor) -> Tensor:
    """[b] bool: the best right answer is strictly above the best wrong one, so tied logits count as wrong."""
    return candidate_logits(logits, correct).amax(1) > candidate_logits(logits, wrong).amax(1)


def _mean(logits: Tensor, ids: Tensor) -> Tensor:
    given = ids >= 0
    return (logits.gather(1, ids.clamp_min(0)) * given).sum(1) / given.sum(1)
