"""Chats as a tokenizer's own template writes them, up to where the assistant's answer begins.

A template is a program (Jinja) that came with somebody's model. It is run in transformers' sandbox only, which keeps it
from everything but text; and in a process of its own, with a limit of time, memory and length, since a sandbox does not
keep a loop from running forever or a text from filling the memory.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from discogp import paths
from discogp.errors import TaskError
from discogp.tasks.base import Messages

SECONDS = 20.0
STARTING = 40.0  # beside those, until the process has imported what it needs, on a machine that is busy
MEMORY_MB = 2048
LONGEST = 100_000  # characters of one rendered chat
_PROGRAM = "discogp.models.chat_process"


@dataclass(frozen=True, slots=True)
class Refused:
    """A chat that the template does not render, and its words for why."""

    why: str


def render(chats: Sequence[Messages], tokenizer: Any) -> list[str | Refused]:
    """Each chat as the model reads it. TaskError for a tokenizer without a template, and for a template that takes too
    long or too much memory."""
    template = _template(tokenizer)
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    return list(_rendered(template, json.dumps(special, sort_keys=True), tuple(chats)))


def readable(chat: Messages) -> str:
    """The chat for people, who see it before any tokenizer has."""
    return "\n".join([*(f"{role}: {content}" for role, content in chat), "assistant:"])


def _template(tokenizer: Any) -> str:
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, dict):  # several, by name
        template = template.get("default")
    if not isinstance(template, str) or not template:
        raise TaskError(
            "the prompts are chats (messages), and this model's tokenizer has no chat template; take a model that was "
            "trained for chats, or write the prompts out as 'prompt'"
        )
    return template


# A search encodes the same chats several times; starting a process each time would cost seconds.
@lru_cache(maxsize=8)
def _rendered(template: str, special: str, chats: tuple[Messages, ...]) -> tuple[str | Refused, ...]:
    work = {
        "template": template,
        "special": json.loads(special),
        "chats": [[{"role": role, "content": content} for role, content in chat] for chat in chats],
        "limits": {"seconds": SECONDS, "memory_mb": MEMORY_MB, "longest": LONGEST},
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", _PROGRAM],
            input=json.dumps(work),
            capture_output=True,
            encoding="utf-8",
            timeout=STARTING + SECONDS,
            cwd=paths.REPOSITORY,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _failed(f"was not done after {SECONDS:.0f} s") from error
    try:
        told = json.loads(done.stdout)
    except ValueError as error:
        raise _failed(f"needed more than {MEMORY_MB} MB or {SECONDS:.0f} s") from error
    return tuple(one["text"] if "text" in one else Refused(one["refused"]) for one in told)


def _failed(why: str) -> TaskError:
    return TaskError(f"the tokenizer's chat template {why}; mend the messages, or write the prompts out as 'prompt'")
