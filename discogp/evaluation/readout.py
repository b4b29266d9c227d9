"""Reading answers off final residual streams a part of the vocabulary at a time, so that the logits are never held.

Axes: circuit k, prompt b, row r, vocabulary V, residual stream D, candidates K. Leaving out every
edge of a circuit asks for hundreds of readings: together they are one matrix product, whose result, streamed, stays
in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discogp.engine.folded import FoldedWeights
from discogp.evaluation.candidates import along_right_answers, answer_scores, greedy_is_right, places
from discogp.evaluation.measures import answers_right, logit_difference
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
    finals: Float[Tensor, "k r D"],
    prompts: Prompts,
    references: tuple[Float[Tensor, "r V"], ...],
) -> Reading:
    """What the logits readers' inputs `finals` [k, r, D] of the prompts' rows say; `references`: log-probabilities
    [r, V]."""
    k, r, d = finals.shape
    steps = prompts.steps
    ids = (torch.cat([prompts.correct, prompts.wrong], dim=1) if steps is None else steps.ids).repeat(k, 1)
    said = finals.new_zeros(k * r, ids.shape[1])
    top = finals.new_full((k * r,), float("-inf"))
    top_token = torch.zeros(k * r, dtype=torch.long, device=finals.device)
    total = finals.new_full((k * r,), float("-inf"))
    # KL(p ‖ q) = Σ p·(log p − l) + log Σ exp l, for q's logits l.
    cross = finals.new_zeros(r, k, len(references))
    log_references = torch.stack(references, dim=1)
    for start, logits in folded.unembed_blocks(finals.view(k * r, d), _WIDTH):
        stop = start + logits.shape[1]
        inside = (ids >= start) & (ids < stop)
        said = torch.where(inside, logits.gather(1, (ids - start).clamp(0, stop - start - 1)), said)
        highest, place = logits.max(1)
        top_token = torch.where(highest > top, place + start, top_token)
        top = torch.maximum(top, highest)
        log_p = log_references[:, :, start:stop]
        p = log_p.exp()
        cross += (p * log_p).sum(2)[:, None] - torch.bmm(logits.view(k, r, -1).transpose(0, 1), p.transpose(1, 2))
        total = torch.logaddexp(total, logits.sub_(highest[:, None]).exp_().sum(1).log() + highest)
    if steps is not None:
        said = answer_scores((said - total[:, None]).view(k, r, -1), steps).flatten(0, 1)
    # The candidates' scores stand for the vocabulary's.
    correct, wrong = (side.repeat(k, 1) for side in places(prompts))
    b, tops = len(prompts), top_token.view(k, r)
    divergences = (cross.transpose(0, 1) + total.view(k, r, 1)).clamp_min(0).unbind(2)
    return Reading(
        correct=answers_right(said, correct, wrong).view(k, b),
        top_token=tops[:, :b],
        top_is_right=greedy_is_right(tops, prompts),
        logit_diff=logit_difference(said, correct, wrong).view(k, b),
        kl=tuple(along_right_answers(of_rows, prompts) for of_rows in divergences),
    )
