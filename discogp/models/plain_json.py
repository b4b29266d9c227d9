"""The JSON files of a model folder, read with bounds: nobody knows who wrote them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from discogp.errors import ModelError

_MAX_BYTES = 16 * 2**20
"""A config has a few kilobytes; the index of a model's shards a hundred bytes a tensor."""
_MAX_DEPTH = 32


def read_object(path: Path, shown: str) -> dict[str, Any]:
    """The object that a file holds. ModelError for anything else, and for a key that occurs twice in one object."""
    what = f"model {shown!r}: {path.name}"
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ModelError(f"{what} has {size:,} bytes; at most {_MAX_BYTES:,} are read. Download the model again")
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(f"{what} is not JSON in UTF-8 ({error}). Download the model again") from error
    except OSError as error:
        raise ModelError(f"{what} cannot be read ({error.strerror}). Check the file's permissions") from error
    try:
        content: Any = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of too many digits
        raise ModelError(f"{what} is not JSON in UTF-8 ({_reason(error)}). Download the model again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{what} must hold an object, not {type(content).__name__}. Download the model again")
    if _deeper_than(content, _MAX_DEPTH):
        raise ModelError(f"{what} is nested more than {_MAX_DEPTH} deep. Download the model again")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {twice[:80]!r} occurs twice")
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    text = str(error)
    return "an integer of too many digits" if "integer string conversion" in text else text.partition("\n")[0][:200]


def _deeper_than(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
    return bool(layer)
