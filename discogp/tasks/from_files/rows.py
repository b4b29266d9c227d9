"""One row of a task file, in our own columns, as an `Example`: what is written is what is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from discogp.errors import brief
from discogp.tasks.base import Example, Messages
from discogp.tasks.chat import readable
from discogp.tasks.from_files.lines import Problems
from discogp.tasks.spacing import MOVED, spaced, without_space
from discogp.tasks.token_id import TokenId

REPEATED = "the prompt stands in an earlier line"
CONTRADICTION = "an answer is both correct and wrong"
_TRUE, _FALSE = ("true", "yes", "1", "x"), ("", "false", "no", "0")

Row = tuple[int, Mapping[str, Any]]


class _Wrong(Exception):
    """A cell that cannot be what its column is; the message says why."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A prompt or counterfactual: its text, and its turns if it is a chat."""

    text: str
    messages: Messages | None


def example_of(row: Row, exact: bool, problems: Problems) -> tuple[Example, str | None] | None:
    """The example, and what of its white space was changed (MOVED, ADDED or None); None, with the row told to
    `problems`, if it cannot be one. `exact`: nothing is changed, whatever the row says."""
    number, cells = row
    try:
        exact = exact or _exact(cells.get("exact"))
        asked = _prompt(cells, exact)
        correct, wrong = (_answers(cells, name) for name in ("correct", "wrong"))
        other = _counterfactual(cells.get("counterfactual"))
        group = _group(cells.get("group"))
    except _Wrong as wrong_cell:
        problems.add(number, str(wrong_cell))
        return None
    change, prompt = None, asked.text
    if not exact and asked.messages is None:
        prompt, correct, wrong, change = _spaced(prompt, correct, wrong)
    if both := set(correct) & set(wrong):
        problems.add(number, f"{', '.join(map(repr, sorted(both)[:3]))} is both correct and wrong", CONTRADICTION)
        return None
    counterfactual = None if other is None else without_space(other.text) if change == MOVED else other.text
    example = Example(
        prompt,
        counterfactual,
        correct,
        wrong,
        group,
        exact=exact or asked.messages is not None,
        messages=asked.messages,
        counterfactual_messages=None if other is None else other.messages,
        where=f"{problems.unit} {number}",
    )
    return example, change


def _spaced(
    prompt: str, correct: tuple[str, ...], wrong: tuple[str, ...]
) -> tuple[str, tuple[str, ...], tuple[str, ...], str | None]:
    # A token id is a token, with or without a space.
    words = [answer for answer in (*correct, *wrong) if not isinstance(answer, TokenId)]
    found = spaced(prompt, words)
    asked = dict(zip(words, found.answers, strict=True))
    right, other = (tuple(dict.fromkeys(asked.get(answer, answer) for answer in side)) for side in (correct, wrong))
    return found.prompt, right, other, found.changed


def _prompt(cells: Mapping[str, Any], exact: bool) -> _Asked:
    if cells.get("messages") not in (None, ""):
        if cells.get("prompt"):
            raise _Wrong("it has both a prompt and messages; keep one of them")
        chat = _chat(cells["messages"], "messages")
        return _Asked(readable(chat), chat)
    value = cells.get("prompt")
    if not isinstance(value, str) or not (value if exact else value.strip()):
        raise _Wrong(f"column 'prompt': {_wanted('a text', value)}")
    return _Asked(value, None)


def _counterfactual(value: Any) -> _Asked | None:
    if value in (None, "", []):
        return None
    if isinstance(value, list):
        chat = _chat(value, "counterfactual")
        return _Asked(readable(chat), chat)
    if not isinstance(value, str):
        raise _Wrong(f"column 'counterfactual': {_wanted('a text', value)}")
    return _Asked(value, None)


def _chat(value: Any, column: str) -> Messages:
    """Turns from a list, or, in a CSV, from the text of one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise _Wrong(f"column {column!r}: a JSON list of messages is needed, got {brief(value)}") from error
    if not isinstance(value, list) or not value:
        raise _Wrong(f"column {column!r}: {_wanted('a list of messages', value)}")
    for turn in value:
        parts = [turn.get(key) if isinstance(turn, dict) else None for key in ("role", "content")]
        if not all(isinstance(part, str) for part in parts):
            raise _Wrong(
                f"column {column!r}: every message is an object with a text role and a text content, got {brief(turn)}"
            )
    return tuple((turn["role"], turn["content"]) for turn in value)


def _answers(cells: Mapping[str, Any], column: str) -> tuple[str, ...]:
    value = cells.get(column)
    given: list[Any] = value if isinstance(value, list) else [value]
    if not given or not all(isinstance(answer, str) and answer for answer in given):
        raise _Wrong(f"column {column!r}: {_wanted('one answer or several', value)}")
    return tuple(dict.fromkeys(given))


def _group(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str | int):
        raise _Wrong(f"column 'group': a text is needed, got {brief(value)}")
    return str(value).strip()


def _exact(value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    word = str(value).strip().lower() if isinstance(value, str | int) else None
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise _Wrong(f"column 'exact': true or false is needed, got {brief(value)}")


def _wanted(what: str, value: object) -> str:
    empty = value is None or (isinstance(value, str) and not value.strip())
    return f"{what} needed, " + ("it is empty" if empty else f"got {brief(value)}")
