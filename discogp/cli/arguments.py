"""How the words of a command line become numbers, paths and texts: with bounds, the same for every option.

`CommandParser` reads options of these types so; a new option needs nothing but its type.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from discogp.errors import DiscoGPError, brief
from discogp.paths import user_path

_LARGEST = 2**63 - 1
"""What torch, numpy and the file formats behind an option hold; seeds, too, are of this size."""


def whole_number(written: str) -> int:
    try:
        value = int(written) if len(written) <= 40 else None
    except ValueError:
        raise argparse.ArgumentTypeError(f"{brief(written)} is no whole number") from None
    if value is None or abs(value) > _LARGEST:
        raise argparse.ArgumentTypeError(f"{brief(written)} is too large; whole numbers have at most 18 digits")
    return value


def number(written: str) -> float:
    try:
        value = float(written)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{brief(written)} is no number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{brief(written)} is no finite number")
    return value


def path(written: str) -> Path:
    if not written.strip():
        raise argparse.ArgumentTypeError("the path is empty")
    try:
        return user_path(written)
    except DiscoGPError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def text(written: str) -> str:
    if not written.strip():
        raise argparse.ArgumentTypeError("the text is empty; leave the option out for its default")
    if "\0" in written:
        raise argparse.ArgumentTypeError(f"{brief(written)} holds a null character")
    return written


READERS: dict[Any, Callable[[str], Any]] = {int: whole_number, float: number, Path: path, None: text}
"""Type of an option -> how it is read; None: of one that states no type."""
