"""What is measured on a prompt's logits, or on other scores of its candidates (`candidates`).

Source of the measures: arXiv 2407.03779, section 4.

Axes: prompt b, vocabulary V, right answers C, wrong answers W (token ids, −1 pads prompts with fewer).
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def candidate_logits(logits: Float[Tensor, "b V"], ids: Int[Tensor, "b C"]) -> Float[Tensor, "b C"]:
    """Logits [b, C] of the candidate ids [b, C] out of the vocabulary's [b, V]; −inf where the id is padding."""
    return logits.gather(1, ids.clamp_min(0)).masked_fill(ids < 0, float("-inf"))


def kl_divergence(full_log_probs: Float[Tensor, "b V"], logits: Float[Tensor, "b V"]) -> Float[Tensor, "b"]:
    """KL(full ‖ circuit) [b] over the whole vocabulary, from the full model's log-probabilities [b, V]."""
    return F.kl_div(logits.log_softmax(-1), full_log_probs, reduction="none", log_target=True).sum(-1)


def logit_difference(
    logits: Float[Tensor, "b V"], correct: Int[Tensor, "b C"], wrong: Int[Tensor, "b W"]
) -> Float[Tensor, "b"]:
    """[b] mean logit of the right answers less that of the wrong ones."""
    return _mean(logits, correct) - _mean(logits, wrong)


def answers_right(
    logits: Float[Tensor, "b V"], correct: Int[Tensor, "b C"], wrong: Int[Tensor, "b W"]
) -> Bool[Tensor, "b"]:
    """[b] bool: the best right answer is strictly above the best wrong one, so tied logits count as wrong."""
    return candidate_logits(logits, correct).amax(1) > candidate_logits(logits, wrong).amax(1)


def top_is_right(top_token: Int[Tensor, "*k b"], correct: Int[Tensor, "b C"]) -> Bool[Tensor, "*k b"]:
    """[.., b] bool: the most likely token of the whole vocabulary [.., b] is one of the right answers."""
    return (top_token[..., None] == correct).any(-1)


def _mean(logits: Float[Tensor, "b V"], ids: Int[Tensor, "b C"]) -> Float[Tensor, "b"]:
    given = ids >= 0
    return (logits.gather(1, ids.clamp_min(0)) * given).sum(1) / given.sum(1)
