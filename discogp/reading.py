"""Files that anybody may have written or damaged, read within bounds: bytes, text, JSON, the types in it, its seal.

What is wrong is a ContentError that says so in one line and names no file; the room that reads names it, in an error of
its own. Time and memory follow from the size of a file, which is bounded before it is read.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AllowInfNan, Strict, TypeAdapter, ValidationError

from discogp.errors import ContentError, brief

T = TypeVar("T")

Text = Annotated[str, Strict()]
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), AllowInfNan(False)]  # whole numbers are numbers; true and false are not

DEEPEST = 64  # nested objects and lists; what walks through them later has Python's limit of 1,000 calls
SEAL = "sha256"
_MOST_DIGITS = 300  # of a whole number: more would be no float


# --- bytes and text --------------------------------------------------------------------------------------


def read_bytes(path: Path, most: int) -> bytes:
    """The content of an ordinary file of at most `most` bytes. FileNotFoundError if there is none."""
    try:
        with open(path, "rb", opener=_open) as file:
            content = file.read(most + 1)
    except (FileNotFoundError, ContentError):
        raise
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise ContentError(f"it cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > most:
        raise ContentError(f"it is too large; at most {most:,} bytes are read")
    return content


def _open(path: str, flags: int) -> int:
    """Without waiting for somebody to write into a pipe, or reading a device that has no end."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise ContentError(f"it is {'a folder' if stat.S_ISDIR(mode) else 'no ordinary file'}")
    return descriptor


def as_text(content: bytes) -> str:
    """UTF-8, with or without a mark at its beginning."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ContentError(f"it is not UTF-8 text ({error.reason} at byte {error.start + 1})") from error


def read_text(path: Path, most: int) -> str:
    """The text of a file of at most `most` bytes. FileNotFoundError if there is none."""
    return as_text(read_bytes(path, most))


# --- JSON ------------------------------------------------------------------------------------------------


def parse_json(text: str) -> Any:
    """JSON as its standard has it: no NaN, no name twice, finite numbers, not nested beyond reason."""
    try:
        value = json.loads(
            text, parse_constant=_no_constant, parse_int=_whole, parse_float=_finite, object_pairs_hook=_unique
        )
    except RecursionError:
        raise ContentError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ContentError(f"it is not valid JSON ({error.msg} at line {error.lineno}, column {error.colno})") from None
    if _deeper_than(DEEPEST, value):
        raise ContentError(f"it is nested too deeply; {DEEPEST} levels are the most")
    return value


def _no_constant(name: str) -> Any:
    raise ContentError(f"it holds {name}, which is not JSON")


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ContentError(f"it holds a number of {len(digits.lstrip('-')):,} digits; {_MOST_DIGITS} are the most")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ContentError(f"it holds the number {digits[:40]}, which is too large")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ContentError(f"it holds {brief(name)} twice")
            seen.add(name)
    return found


def _deeper_than(most: int, value: Any) -> bool:
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(most):
        inner = (box.values() if isinstance(box, dict) else box for box in level)
        level = [item for items in inner for item in items if isinstance(item, (dict, list))]
        if not level:
            return False
    return bool(level)


# --- types -----------------------------------------------------------------------------------------------


def checked(kind: TypeAdapter[T], data: Any) -> T:
    """The data as `kind` declares it; the ContentError names the first field that is not so, and what it holds."""
    try:
        return kind.validate_python(data)
    except ValidationError as error:
        raise ContentError(_in_words(error)) from None


def _in_words(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False)
    first = found[0]
    place = ".".join(str(part)[:60] for part in first["loc"]) or "it"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    if first["type"] == "missing":
        return f"{place} is missing{more}"
    if first["type"] == "extra_forbidden":
        return f"{place} is no name that is known here{more}"
    wanted = first["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    return f"{place} is {brief(first['input'])}; {wanted}{more}"


# --- seals -----------------------------------------------------------------------------------------------


class Seal(Enum):
    """Whether a checksum tells that something is as it was written."""

    WHOLE = "it is as it was written"
    NONE = "it has no checksum, so damage to it cannot be told"
    BROKEN = (
        "it is damaged, or was changed by hand: its checksum is that of another content. Take a whole copy; who "
        f'changed it on purpose takes "{SEAL}" out'
    )


def sealed(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same with a checksum of itself, by which `unsealed` knows damage."""
    content = {name: value for name, value in data.items() if name != SEAL}
    return {**content, SEAL: _digest(content)}


def unsealed(data: Mapping[str, Any]) -> tuple[dict[str, Any], Seal]:
    """The content without its seal, and whether it had one that fits."""
    content = {name: value for name, value in data.items() if name != SEAL}
    if SEAL not in data:
        return content, Seal.NONE
    return content, Seal.WHOLE if data[SEAL] == _digest(content) else Seal.BROKEN


def _digest(data: Mapping[str, Any]) -> str:
    """SHA-256 of the content, whatever its spaces and the order of its names."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
