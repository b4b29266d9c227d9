"""Reading files that others wrote: lines as text, and everything that is wrong with them told at once, in few lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from discogp.errors import TaskError

SHOWN = 10
# Longer than any prompt a model takes, and short enough that a file without line ends is refused at once.
LONGEST_LINE = 100_000


class Problems:
    """What is wrong with a file, in the order of its lines. Reading goes on, so that one look mends them all."""

    def __init__(self, path: Path, what: str) -> None:
        self._file = f"the {what} {path.name!r}"
        self._told: list[str] = []
        self._count = 0

    def add(self, line: int, message: str) -> None:
        self._count += 1
        if len(self._told) < SHOWN:
            self._told.append(f"line {line}: {message}")

    def raise_if_any(self) -> None:
        """TaskError with the first ten and the number of the rest; nothing if there are none."""
        if self._count:
            rest = [f"… and {self._count - SHOWN:,} more"] if self._count > SHOWN else []
            raise TaskError("\n".join([f"{self._file} cannot be used as it is:", *self._told, *rest]))


def read_text_lines(path: Path, what: str, problems: Problems) -> list[str]:
    """The lines of a UTF-8 file, without their ends; lines that are no text are told and left empty.

    TaskError if the file cannot be opened or is empty.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TaskError(
            f"cannot read the {what} {str(path)!r}: {error.strerror or error}; give the path of a file"
        ) from error
    if not raw.strip():
        raise TaskError(f"the {what} {str(path)!r} is empty")
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise TaskError(f"the {what} {str(path)!r} is UTF-16; save it as UTF-8")
    return [
        _text(line, number, problems)
        for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\n"), start=1)
    ]


def _text(line: bytes, number: int, problems: Problems) -> str:
    if len(line) > LONGEST_LINE:
        problems.add(number, f"{len(line):,} bytes long; a line may have at most {LONGEST_LINE:,}")
        return ""
    if (place := line.find(b"\0")) >= 0:
        problems.add(number, f"a NUL byte at byte {place + 1}; is this a text file?")
        return ""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        problems.add(number, f"not UTF-8 ({error.reason} at byte {error.start + 1}); save the file as UTF-8")
        return ""


def json_objects(lines: list[str], problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of each line that is a JSON object; empty lines are passed over, others told."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.add(number, f"not JSON ({error.msg} at column {error.colno}); every line is one object")
            continue
        except RecursionError:
            problems.add(number, "JSON nested too deeply; every line is one flat object")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            problems.add(number, f"a JSON object is needed, got {type(row).__name__}")
