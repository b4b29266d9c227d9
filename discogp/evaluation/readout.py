"""Reading answers off final residual streams a part of the vocabulary at a time, so that the logits are never held.

Axes: circuit k, prompt b, vocabulary V, residual stream D, right answers C, wrong answers W. Leaving out every
edge of a circuit asks for hundreds of readings: together they are one matrix product, whose result, streamed, stays
in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discogp.engine.folded import FoldedWeights
from discogp.evaluation.measures import answers_right, logit_difference, top_is_right
from discogp.tasks.encoded import Prompts

_WIDTH = 1024


@dataclass(frozen=True)
class Reading:
    """Of k circuits on b prompts, each [k, b]; `kl`: KL(reference ‖ circuit) in nats for each reference given."""

    correct: Bool[Tensor, "k b"]
    top_token: Int[Tensor, "k b"]
    top_is_right: Bool[Tensor, "k b"]
    logit_diff: Float[Tensor, "k b"]
    kl: tuple[Float[Tensor, "k b"], ...]

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """In the order of an outcome's."""
        return self.correct, self.top_token, self.top_is_right, self.logit_diff, *self.kl


@torch.no_grad()
def read_out(
    folded: FoldedWeights,
    finals: Float[Tensor, "k b D"],
    prompts: Prompts,
    references: tuple[Float[Tensor, "b V"], ...],
) -> Reading:
    """What the logits readers' inputs `finals` [k, b, D] say; `references`: log-probabilities [b, V]."""
    k, b, d = finals.shape
    ids = torch.cat([prompts.correct, prompts.wrong], dim=1).repeat(k, 1)
    candidates = finals.new_zeros(k * b, ids.shape[1])
    top = finals.new_full((k * b,), float("-inf"))
    top_token = torch.zeros(k * b, dtype=torch.long, device=finals.device)
    total = finals.new_full((k * b,), float("-inf"))
    # KL(p ‖ q) = Σ p·(log p − l) + log Σ exp l, for q's logits l.
    cross = finals.new_zeros(b, k, len(references))
    log_references = torch.stack(references, dim=1)
    for start, logits in folded.unembed_blocks(finals.view(k * b, d), _WIDTH):
        stop = start + logits.shape[1]
        inside = (ids >= start) & (ids < stop)
        candidates = torch.where(inside, logits.gather(1, (ids - start).clamp(0, stop - start - 1)), candidates)
        highest, place = logits.max(1)
        top_token = torch.where(highest > top, place + start, top_token)
        top = torch.maximum(top, highest)
        log_p = log_references[:, :, start:stop]
        p = log_p.exp()
        cross += (p * log_p).sum(2)[:, None] - torch.bmm(logits.view(k, b, -1).transpose(0, 1), p.transpose(1, 2))
        total = torch.logaddexp(total, logits.sub_(highest[:, None]).exp_().sum(1).log() + highest)
    # The candidates' logits stand for the vocabulary's: an id is its own place among them, padding stays padding.
    places = torch.where(ids >= 0, torch.arange(ids.shape[1], device=ids.device), -1)
    correct, wrong = places.tensor_split([prompts.correct.shape[1]], dim=1)
    return Reading(
        correct=answers_right(candidates, correct, wrong).view(k, b),
        top_token=top_token.view(k, b),
        top_is_right=top_is_right(top_token, prompts.correct.repeat(k, 1)).view(k, b),
        logit_diff=logit_difference(candidates, correct, wrong).view(k, b),
        kl=tuple((cross.transpose(0, 1) + total.view(k, b, 1)).clamp_min(0).unbind(2)),
    )
