"""The JSON files of a model folder, read with bounds: nobody knows who wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from discogp.errors import ContentError, ModelError
from discogp.reading import parse_json, read_text

_MAX_BYTES = 16 * 2**20
"""A config has a few kilobytes; the index of a model's shards a hundred bytes a tensor."""


def read_object(path: Path, shown: str) -> dict[str, Any]:
    """The object that a file holds. ModelError for anything else, and for a key that occurs twice in one object."""
    try:
        content = parse_json(read_text(path, _MAX_BYTES))
        if not isinstance(content, dict):
            raise ContentError(f"it must hold an object, not {type(content).__name__}")
    except FileNotFoundError:
        raise ModelError(f"model {shown!r}: there is no {path.name}; download the model again") from None
    except ContentError as error:
        raise ModelError(f"model {shown!r}: {path.name} cannot be read: {error}; download the model again") from error
    return content
