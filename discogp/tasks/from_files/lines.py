"""Reading files that others wrote: lines as text, and everything that is wrong with them told at once, in few lines."""

from __future__ import annotations

import json
from bisect import insort
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from discogp.errors import TaskError

SHOWN = 10
# Of a file that is used, fewer are named.
NOTED = 5
UNREADABLE = "the row cannot be read"
# Longer than any prompt a model takes, and short enough that a file without line ends is refused at once.
LONGEST_LINE = 100_000


class Problems:
    """What is wrong with the rows of a file, in the order of its lines. One bad row is one row less: it is left out,
    counted by reason, and the first are named. What makes the whole file useless is a TaskError instead.

    `dropped`: rows by reason.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._file = f"the {what} {path.name!r}"
        self._told: list[tuple[int, str]] = []
        self.dropped: Counter[str] = Counter()

    def add(self, line: int, message: str, reason: str = UNREADABLE) -> None:
        """One row less. `message` says what is wrong with this one, `reason` what is counted."""
        self.dropped[reason] += 1
        # Lines that are no text are told before any row is read.
        insort(self._told, (line, f"line {line}: {message}"), key=lambda told: told[0])
        del self._told[SHOWN:]

    def notes(self) -> tuple[str, ...]:
        """The first rows that were left out, a line each, and how many more there are."""
        if not self._told:
            return ()
        return tuple(f"{self._file}, {told}; the row is left out" for _, told in self._told[:NOTED]) + self._rest(NOTED)

    def refuse_if_empty(self, usable: int) -> None:
        """TaskError, as `refuse`, if no row is usable."""
        if usable:
            return
        self.refuse_if_any()
        raise TaskError(f"{self._file} has no prompt in it; give one on each line, beneath a header if it is CSV")

    def refuse_if_any(self) -> None:
        """TaskError with the first ten rows that are wrong and the number of the rest, if there are any."""
        if self._told:
            raise TaskError(
                "\n".join(
                    [f"{self._file} cannot be used as it is:", *(text for _, text in self._told), *self._rest(SHOWN)]
                )
            )

    def _rest(self, shown: int) -> tuple[str, ...]:
        more = self.dropped.total() - shown
        return (f"… and {more:,} more",) if more > 0 else ()


def counted(dropped: Mapping[str, int]) -> str:
    """Reasons with their counts, for an error's brackets."""
    return "; ".join(f"{count:,} × {reason}" for reason, count in dropped.items())


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


def texts_of(
    row: Mapping[str, Any], keys: Sequence[str], what: str, number: int, problems: Problems
) -> tuple[str, ...] | None:
    """The texts under the keys, without white space around them; None, and the row told, if one is no text."""
    values = [row.get(key) for key in keys]
    found = [value.strip() for value in values if isinstance(value, str) and value.strip()]
    if len(found) == len(keys):
        return tuple(found)
    bad = [(key, v) for key, v in zip(keys, values, strict=True) if not isinstance(v, str) or not v.strip()]
    problems.add(number, "; ".join(f"the field {key!r} must be {what}, got {v!r:.60}" for key, v in bad))
    return None
