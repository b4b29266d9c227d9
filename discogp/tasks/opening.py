"""The token that opens a text: in front of a prompt once, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from discogp.errors import TaskError
from discogp.terms import Bos


def opening(ids: Sequence[int], tokenizer: Any, bos_id: int | None, bos: Bos = "auto", chat: bool = False) -> list[int]:
    """What stands before the ids of a prompt: `[bos_id]` or nothing. A prompt that begins with it gets no second one.

    `bos_id`: the token the model expects before a text; None if it expects none. `chat`: the prompt is a rendered chat,
    which is whole as its template made it. TaskError for a `bos` that does not exist, or `always` without a token.
    """
    if bos not in get_args(Bos):
        raise TaskError(f"bos is {bos!r}; allowed: {', '.join(get_args(Bos))}")
    if bos == "always" and bos_id is None:
        raise TaskError("bos is 'always', but this model has no token that opens a text; set it to auto or never")
    if bos == "never" or bos_id is None or (chat and bos == "auto"):
        return []
    # SmolLM2's tokenizer names <|im_start|>, its plain texts open with another: a prompt with either has its own.
    own = {bos_id, getattr(tokenizer, "bos_token_id", None) if bos == "auto" else bos_id}
    return [] if ids and ids[0] in own else [bos_id]
