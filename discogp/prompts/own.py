"""A person's own text with candidates of their own, as a prompt like those of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discogp.errors import ModelError, TaskError
from discogp.evaluation.positions import MOST_TOKENS
from discogp.tasks.base import Example
from discogp.tasks.encoding import Reading, encode
from discogp.tasks.spacing import spaced
from discogp.terms import Bos

if TYPE_CHECKING:
    from discogp.engine.masked_transformer import MaskedTransformer
    from discogp.tasks.encoded import Prompts


def own_prompt(model: MaskedTransformer, text: str, right: str, wrong: str, bos: Bos = "auto") -> Prompts:
    """One prompt, without a counterfactual; answers may be several tokens. `bos` as for a task's prompts.

    ModelError or TaskError, which say what to do, for a text or an answer that the model cannot be asked.
    """
    if model.tokenizer is None:
        raise ModelError("this model has no tokenizer, so it cannot read text; choose one of the task's prompts")
    for name, given in (("text", text), ("right answer", right), ("wrong answer", wrong)):
        if not given.strip():
            raise TaskError(f"the {name} is empty; type one")
    asked = spaced(text, (right, wrong))
    example = Example(asked.prompt, None, (asked.answers[0],), (asked.answers[1],))
    positions = min(MOST_TOKENS, model.config.max_positions)
    reading = Reading(bos=bos, answers="whole", positions=positions, vocabulary=model.config.d_vocab)
    return encode([example], model.tokenizer, model.bos_id, reading).prompts
