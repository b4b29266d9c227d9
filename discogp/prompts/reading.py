"""How a model reads the prompts of a task: what of model, task and caller decides it, and how it is told."""

from __future__ import annotations

from typing import Any

from discogp.engine.masked_transformer import MaskedTransformer
from discogp.tasks import Task
from discogp.tasks.encoding import Reading
from discogp.tasks.spacing import visible
from discogp.terms import Bos


def reading_of(model: MaskedTransformer, task: Task, bos: Bos | None = None) -> Reading:
    """`bos`: as it was asked for; None: as the task says, and if it does not, as the model does."""
    return Reading(
        bos=bos or getattr(task, "bos", None) or model.bos,
        answers=getattr(task, "answers", "token"),
        positions=model.config.max_positions,
        vocabulary=model.config.d_vocab,
    )


def pieces(ids: list[int], tokenizer: Any) -> list[str]:
    """Each token's own text, white space to be seen; the tokenizer's name for one that is a part of a letter."""
    found: list[str] = []
    for place, token in enumerate(ids):
        # Alone, a sentence-piece token would lose the space in front of it.
        before = ids[max(0, place - 1) : place]
        whole, start = (
            tokenizer.decode(part, clean_up_tokenization_spaces=False) for part in ([*before, token], before)
        )
        text = whole[len(start) :] if whole.startswith(start) else tokenizer.decode([token])
        if "\ufffd" in text or not text:
            text = str(tokenizer.convert_ids_to_tokens([token])[0])
        found.append(visible(text))
    return found
