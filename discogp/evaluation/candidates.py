"""From the logits of a batch's rows to scores of its prompts' candidates, whether an answer is one token or several.

Axes: prompt b, row r, vocabulary V, candidate K (right answers C, then wrong ones W). An answer of one token scores its
logit. As soon as an answer of the set is several tokens, every answer scores the sum of its tokens' log-probabilities,
each after the prompt and the tokens before it, in nats. Differences between answers of one token are the same either
way. No text is likelier than its own beginning, and nothing corrects for length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from discogp.evaluation.measures import top_is_right
from discogp.tasks.encoded import Prompts, Steps


@dataclass(frozen=True, slots=True)
class Candidates:
    """What measures and losses are asked of: `scores` [b, V or K], and in them the places of the right [b, C] and the
    wrong answers [b, W], −1 as padding."""

    scores: Float[Tensor, "b _"]
    correct: Int[Tensor, "b C"]
    wrong: Int[Tensor, "b W"]

    @classmethod
    def of_asked(cls, logits: Float[Tensor, "b K"], prompts: Prompts) -> Candidates:
        """From the logits [b, K] of the ids of `asked_ids`. Differentiable."""
        return cls(logits, *places(prompts))

    @classmethod
    def of(cls, logits: Float[Tensor, "r V"], prompts: Prompts) -> Candidates:
        """From the logits [r, V] of the batch's rows. Differentiable."""
        if prompts.steps is None:
            return cls(logits, prompts.correct, prompts.wrong)
        logits = logits.float()
        said = logits.gather(1, prompts.steps.ids.clamp_min(0)) - logits.logsumexp(1, keepdim=True)
        return cls(answer_scores(said, prompts.steps), *places(prompts))


def asked_ids(prompts: Prompts) -> Int[Tensor, "b K"] | None:
    """The token ids of all candidates side by side, as in `places`, where their logits alone make the scores.

    None where answers are several tokens: a log-probability takes the whole vocabulary, a token's logit does not.
    """
    if prompts.steps is not None:
        return None
    return torch.cat([prompts.correct, prompts.wrong], 1).clamp_min(0)


def places(prompts: Prompts) -> tuple[Int[Tensor, "b C"], Int[Tensor, "b W"]]:
    """Where the right [b, C] and the wrong answers [b, W] stand when all candidates stand side by side; −1: padding."""
    ids = torch.cat([prompts.correct, prompts.wrong], dim=1)
    found = torch.arange(ids.shape[1], device=ids.device).expand_as(ids).masked_fill(ids < 0, -1)
    correct, wrong = found.tensor_split([prompts.correct.shape[1]], dim=1)
    return correct, wrong


def answer_scores(said: Float[Tensor, "*k r K"], steps: Steps) -> Float[Tensor, "*k b K"]:
    """Sums over each candidate's rows of its tokens' log-probabilities `said` [.., r, K]; −inf where there is none."""
    sums = _of_prompts(said.masked_fill(steps.ids < 0, 0), steps)
    return sums.masked_fill(_of_prompts((steps.ids >= 0).to(said.dtype), steps) == 0, float("-inf"))


def along_right_answers(of_rows: Float[Tensor, "*k r"], prompts: Prompts) -> Float[Tensor, "*k b"]:
    """What is measured of rows, as of prompts: the sum over the tokens of a right answer, mean over right answers."""
    if prompts.steps is None:
        return of_rows
    passes = (prompts.steps.ids[:, : prompts.correct.shape[1]] >= 0).to(of_rows.dtype)
    sums = _of_prompts(of_rows[..., None] * passes, prompts.steps).sum(-1)
    return sums / (prompts.correct >= 0).sum(1)


def greedy_is_right(top_token: Int[Tensor, "*k r"], prompts: Prompts) -> Bool[Tensor, "*k b"]:
    """Whether the text that always goes on with the likeliest token [.., r] begins with a right answer."""
    if prompts.steps is None:
        return top_is_right(top_token, prompts.correct)
    wanted = prompts.steps.ids[:, : prompts.correct.shape[1]]
    missed = (wanted >= 0) & (wanted != top_token[..., None])
    return ((_of_prompts(missed.float(), prompts.steps) == 0) & (prompts.correct >= 0)).any(-1)


def likeliest_texts(top_token: Int[Tensor, "r"], prompts: Prompts) -> list[tuple[int, ...]]:
    """Of every prompt, how the likeliest tokens [r] go on from it, as far as its rows follow: to the first token with
    which no candidate goes on, or to a candidate's end."""
    if prompts.steps is None:
        return [(token,) for token in top_token.tolist()]
    tokens, lengths, top = prompts.tokens.tolist(), prompts.lengths.tolist(), top_token.tolist()
    found: list[tuple[int, ...]] = []
    for prompt, rows in enumerate(prompts.steps.table().tolist()):
        behind = {tuple(tokens[row][lengths[prompt] : lengths[row]]): row for row in rows if row >= 0}
        text: tuple[int, ...] = ()
        while text in behind:
            text = (*text, top[behind[text]])
        found.append(text)
    return found


def as_one_token(
    logits: Float[Tensor, "r V"], full_log_probs: Float[Tensor, "r V"], prompts: Prompts
) -> tuple[Tensor, Prompts, Tensor]:
    """A batch for measures that know answers of one token: (logits, prompts, the full model's log-probabilities).

    Where answers are several tokens, the vocabulary becomes the prompt's candidates and, as its last token, all else
    that could be said: log-probabilities [b, K + 1], in which `correct` and `wrong` are places.
    """
    if prompts.steps is None:
        return logits, prompts, full_log_probs
    correct, wrong = places(prompts)
    ours, full = (_with_all_else(Candidates.of(given, prompts).scores) for given in (logits, full_log_probs))
    return ours, replace(prompts.asked, correct=correct, wrong=wrong), full


def _with_all_else(scores: Float[Tensor, "b K"]) -> Float[Tensor, "b _"]:
    # A candidate that goes on another's beginning is counted in both, so the rest can come out too small, never below.
    rest = (1 - scores.double().exp().sum(1, keepdim=True)).clamp_min(torch.finfo(torch.float32).eps).log()
    return torch.cat([scores, rest.to(scores.dtype)], dim=1).log_softmax(1)


def _of_prompts(of_rows: Float[Tensor, "*k r K"], steps: Steps) -> Float[Tensor, "*k b K"]:
    """Sums over the rows of each prompt."""
    table = steps.table()
    return (of_rows[..., table.clamp_min(0), :] * (table >= 0)[..., None]).sum(-2)
