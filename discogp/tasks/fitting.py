"""Tasks that suit themselves to a tokenizer: which digits are tokens, which words its vocabulary has.

Most tasks say the same to every model, and what a tokenizer cannot express is dropped. A few cannot: a year is two
tokens of two digits for one tokenizer and four of one digit for another. Such a task has a method `fit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from discogp.tasks.base import Task


@runtime_checkable
class FitsTokenizer(Protocol):
    """A task that can be asked differently of different tokenizers."""

    def fit(self, tokenizer: Any) -> Task:
        """The task for that tokenizer, under the same name. TaskError if there is no way to ask it."""
        ...


def fitted(task: Task, tokenizer: Any) -> Task:
    """The task as this tokenizer can express it; most tasks are returned as they are."""
    return task.fit(tokenizer) if isinstance(task, FitsTokenizer) else task


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """The text's own tokens, without any that a tokenizer puts around every text."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def has_unknown(text: str, ids: Sequence[int], tokenizer: Any) -> bool:
    """Whether the tokenizer lacks a part of the text that it made these ids of. Some byte-level tokenizers name an
    ordinary special token (the one that opens a text) as "unknown"; where it was written, it is meant."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    if unknown is None or unknown not in ids:
        return False
    name = getattr(tokenizer, "unk_token", None)
    return ids.count(unknown) > (text.count(name) if name else 0)


def unknown_words(text: str, tokenizer: Any) -> str:
    """The first five words of a text that the tokenizer lacks, with a space before them and without, to be named."""
    words = list(dict.fromkeys(text.split()))
    if not words:
        return "a part of it"
    ids = tokenizer([*words, *(f" {word}" for word in words)], add_special_tokens=False)["input_ids"]
    unknown = [tokenizer.unk_token_id in found for found in ids]
    lacking = [word for i, word in enumerate(words) if unknown[i] and unknown[i + len(words)]]
    return ", ".join(map(repr, lacking[:5])) or "a part of it"
