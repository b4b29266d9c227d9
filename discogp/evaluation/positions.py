"""What a model and a circuit in it predict after every token of one prompt.

Axes: position t, vocabulary V. A circuit is found for the answer's position alone; what it says elsewhere shows how
much of the model it carries along.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from discogp.errors import ModelError
from discogp.evaluation.measures import kl_divergence
from discogp.tasks.fitting import has_unknown, unknown_words
from discogp.tasks.opening import opening
from discogp.terms import Bos

MOST_TOKENS = 256


@dataclass(frozen=True)
class Guess:
    """A next token and its probability, 0–1."""

    text: str
    probability: float


@dataclass(frozen=True)
class Position:
    """One token of a prompt and what is predicted after it, likeliest first.

    `kl`: KL(full ‖ circuit) over the whole vocabulary, in nats. `follows`: the prompt's next token, None at its end.
    """

    token: str
    full: tuple[Guess, ...]
    circuit: tuple[Guess, ...]
    kl: float
    follows: str | None


@torch.no_grad()
def positions(
    ids: Iterable[int], full: Float[Tensor, "t V"], circuit: Float[Tensor, "t V"], tokenizer: Any, top: int = 3
) -> list[Position]:
    """Every position of one prompt, from the logits [t, V] of the full model and of the circuit there."""
    tokens = list(ids)
    log_probs = [logits.float().log_softmax(-1) for logits in (full, circuit)]
    divergences = kl_divergence(*log_probs).tolist()
    texts = [_text(tokenizer, token) for token in tokens]
    found = [guesses(log_prob, tokenizer, top) for log_prob in log_probs]
    return [
        Position(text, found[0][t], found[1][t], divergences[t], texts[t + 1] if t + 1 < len(texts) else None)
        for t, text in enumerate(texts)
    ]


def prompt_ids(text: str, tokenizer: Any, bos_id: int | None, bos: Bos = "auto") -> Int[Tensor, "1 t"]:
    """A person's own text as token ids [1, t], with the token that opens a text as prompts of a task have it.

    ModelError for no tokenizer, no text, too much of it, or words that the tokenizer does not know.
    """
    if tokenizer is None:
        raise ModelError("this model has no tokenizer, so it cannot read text; choose one of the task's prompts")
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise ModelError("the text is empty; type a prompt")
    if len(ids) > MOST_TOKENS:
        raise ModelError(f"the text has {len(ids):,} tokens; at most {MOST_TOKENS} are shown, so shorten it")
    if has_unknown(text, ids, tokenizer):
        raise ModelError(f"the model does not know {unknown_words(text, tokenizer)}; reword it")
    return torch.tensor([opening(ids, tokenizer, bos_id, bos) + ids])


def guesses(log_probs: Float[Tensor, "t V"], tokenizer: Any, top: int) -> list[tuple[Guess, ...]]:
    """The likeliest next tokens of every row of log-probabilities [t, V], the likeliest first."""
    best = log_probs.topk(min(top, log_probs.shape[-1]), dim=-1)
    return [
        tuple(Guess(_text(tokenizer, token), probability) for token, probability in zip(row, chances, strict=True))
        for row, chances in zip(best.indices.tolist(), best.values.exp().tolist(), strict=True)
    ]


def _text(tokenizer: Any, token: int) -> str:
    return str(token) if tokenizer is None else str(tokenizer.decode([token], clean_up_tokenization_spaces=False))
