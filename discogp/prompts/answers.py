"""What the full model answers: right or not, first of the vocabulary or not, by how much; and what chance would give.

Axes: prompt b, position t, vocabulary V.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from discogp.engine.masked_transformer import MaskedTransformer
from discogp.evaluation.candidates import Candidates, greedy_is_right
from discogp.evaluation.measures import answers_right, logit_difference
from discogp.tasks import Prompts
from discogp.tasks.opening import opening
from discogp.terms import Bos

_BATCH = 64
_SENTENCES = 16  # logits at every position of every sentence are much memory


@dataclass(frozen=True, eq=False)
class Answers:
    """right Bool[b]: a right answer beats every wrong one; top1 Bool[b]: it is first of the vocabulary;
    logit_diff Float[b]: mean logit of the right answers less that of the wrong ones. For answers of several tokens see
    `scorer`."""

    right: Tensor
    top1: Tensor
    logit_diff: Tensor


def full_answers(model: MaskedTransformer, prompts: Prompts) -> Answers:
    """The unmasked model's answers to the prompts."""
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for batch in prompts.batches(_BATCH):
        batch = batch.to(model.device)
        logits = model.logits(batch.tokens, batch.last)
        said = Candidates.of(logits, batch)
        found.append(
            (
                answers_right(said.scores, said.correct, said.wrong).cpu(),
                greedy_is_right(logits.argmax(1), batch).cpu(),
                logit_difference(said.scores, said.correct, said.wrong).cpu(),
            )
        )
    return Answers(*(torch.cat(part) for part in zip(*found, strict=True)))


@dataclass(frozen=True)
class Chance:
    """Accuracies (0–1) that say nothing of a model. uniform: guessing evenly among a prompt's candidates; majority:
    always saying `answer`, the tokens that are right most often."""

    uniform: float
    majority: float
    answer: tuple[int, ...]


def chance(*parts: Prompts) -> Chance:
    """What guessing would give on these prompts, all taken together."""
    shares: list[Tensor] = []
    right: Counter[tuple[int, ...]] = Counter()
    for prompts in parts:
        n_right, n_wrong = ((ids >= 0).sum(1) for ids in (prompts.correct, prompts.wrong))
        shares.append(n_right / (n_right + n_wrong))
        right.update(tuple(ids) for place in range(len(prompts)) for ids in prompts.answers(place, "correct"))
    most = max(right.values())
    return Chance(
        uniform=float(torch.cat(shares).mean()),
        majority=most / sum(map(len, parts)),
        answer=min(answer for answer, count in right.items() if count == most),
    )


@torch.no_grad()
def sentence_log_probs(model: MaskedTransformer, sentences: Sequence[str], bos: Bos | None = None) -> Tensor:
    """[b] log-probability, in nats, of whole sentences: of every token but the first that stands in the model's view
    (the beginning-of-sequence token, or without one the sentence's own first token)."""
    ids = model.tokenizer(list(sentences), add_special_tokens=False)["input_ids"]
    rows = [opening(row, model.tokenizer, model.bos_id, bos or model.bos) + row for row in ids]
    sums: list[Tensor] = []
    for start in range(0, len(rows), _SENTENCES):
        batch = rows[start : start + _SENTENCES]
        lengths = torch.tensor([len(row) for row in batch])
        width = int(lengths.max())
        tokens = torch.tensor([row + [0] * (width - len(row)) for row in batch], device=model.device)
        log_probs = model.logits(tokens)[:, :-1].log_softmax(-1)
        said = log_probs.gather(2, tokens[:, 1:, None])[:, :, 0].cpu()
        real = torch.arange(1, width) < lengths[:, None]
        sums.append((said * real).sum(1))
    return torch.cat(sums)
