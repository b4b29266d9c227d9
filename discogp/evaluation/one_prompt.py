"""What a model and parts of it say to one prompt: the figure that a person understands before any mean.

Axes: row r, vocabulary V. A prompt whose answers are several tokens has several rows (`tasks.encoded`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from discogp.evaluation.candidates import Candidates
from discogp.evaluation.measures import answers_right, logit_difference
from discogp.evaluation.positions import Guess, guesses
from discogp.tasks.encoded import Prompts

Part = Literal["full", "circuit", "edited", "complement"]
"""As `describe.PART_LABELS` names them; edited: the circuit without what is off."""


@dataclass(frozen=True)
class Said:
    """`right`, `wrong`: how likely (0–1) one of the right and one of the wrong answers is as what comes next.

    `is_right`: the verdict that accuracy counts; `logit_diff`: right minus wrong, as in all figures; `top`: the
    likeliest next tokens, the likeliest first.
    """

    right: float
    wrong: float
    is_right: bool
    logit_diff: float
    top: tuple[Guess, ...]


@torch.no_grad()
def said(logits: Float[Tensor, "r V"], prompt: Prompts, tokenizer: Any, top: int = 10) -> Said:
    """What the logits [r, V] of one prompt's rows amount to."""
    found = Candidates.of(logits, prompt)
    # Answers of several tokens score log-probabilities already, those of one token logits.
    scores = found.scores if prompt.steps is not None else found.scores.float().log_softmax(-1)
    right, wrong = (_together(scores[0], places[0]) for places in (found.correct, found.wrong))
    return Said(
        right,
        wrong,
        bool(answers_right(found.scores, found.correct, found.wrong)[0]),
        float(logit_difference(found.scores, found.correct, found.wrong)[0]),
        guesses(logits[:1].float().log_softmax(-1), tokenizer, top)[0],
    )


def _together(log_probs: Tensor, places: Tensor) -> float:
    """Of an answer that goes on another's beginning both are counted, so the sum could come out above 1."""
    return min(1.0, float(log_probs[places[places >= 0]].exp().sum()))
