"""Tasks that suit themselves to a tokenizer: which digits are tokens, which words its vocabulary has.

Most tasks say the same to every model, and what a tokenizer cannot express is dropped. A few cannot: a year is two
tokens of two digits for one tokenizer and four of one digit for another. Such a task has a method `fit`.
"""

from __future__ import annotations

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
