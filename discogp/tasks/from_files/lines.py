"""Reading files that others wrote: lines as text, and everything that is wrong with them told at once, in few lines."""

from __future__ import annotations

import json
import stat
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discogp.errors import TaskError, brief

SHOWN = 10
# Of a file that is used, fewer are named.
NOTED = 5
UNREADABLE = "the row cannot be read"
# Longer than any prompt a model takes, and short enough that a file without line ends is refused at once.
LONGEST_LINE = 100_000
# What a page takes as well; read in seconds, and in memory some twenty times as large.
MOST_BYTES = 50_000_000
# Bytes say little about files of very many very short lines or rows.
MOST_ROWS, _MOST_LINES = 500_000, 5_000_000
_MOST_DIGITS = 1000
_PACKED = {b"\x1f\x8b": "packed (gzip)", b"PK\x03\x04": "a zip archive or a spreadsheet", b"%PDF": "a PDF"}


class Problems:
    """What is wrong with the rows of a file, in the order of its lines. One bad row is one row less: it is left out,
    counted by reason, and the first are named. What makes the whole file useless is a TaskError instead.

    `dropped`: rows by reason. `unit`: what the numbers count, "line" or, where there are no lines, "row".
    """

    def __init__(self, path: Path, what: str) -> None:
        self._file = f"the {what} {path.name!r}"
        self._told: list[tuple[int, str]] = []
        self.dropped: Counter[str] = Counter()
        self.unit = "line"

    def add(self, line: int, message: str, reason: str = UNREADABLE) -> None:
        """One row less. `message` says what is wrong with this one, `reason` what is counted."""
        self.dropped[reason] += 1
        # Lines that are no text are told before any row is read.
        insort(self._told, (line, f"{self.unit} {line}: {message}"), key=lambda told: told[0])
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


@dataclass(frozen=True, slots=True)
class Text:
    """A text file. `lines`: without their ends, and with what is no UTF-8 replaced. `bad`: number of a line -> why it
    is no text."""

    lines: list[str]
    bad: dict[int, str]


def read_bytes(path: Path, what: str) -> bytes:
    """TaskError if it is no file, cannot be opened, is empty, or is larger than can be read in seconds."""
    try:
        found = path.stat()
        # A device may have no end.
        raw = path.read_bytes() if stat.S_ISREG(found.st_mode) and found.st_size <= MOST_BYTES else None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TaskError(f"cannot read the {what} {str(path)!r}: {reason}; give the path of a file") from error
    if not stat.S_ISREG(found.st_mode):
        raise TaskError(f"cannot read the {what} {str(path)!r}: it is no file; give the path of a file")
    if raw is None:
        raise TaskError(
            f"the {what} {path.name!r} has {found.st_size / 1e6:,.1f} MB; at most {MOST_BYTES / 1e6:,.0f} are read; "
            "give a part of it"
        )
    if not raw.strip():
        raise TaskError(f"the {what} {str(path)!r} is empty")
    return raw


def read_text(path: Path, what: str) -> Text:
    """The file's lines, and which of them are no UTF-8. TaskError as `read_bytes`, and for other encodings."""
    return as_text(read_bytes(path, what), f"the {what} {str(path)!r}")


def as_text(raw: bytes, what: str) -> Text:
    """See `read_text`."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise TaskError(f"{what} is UTF-16; save it as UTF-8")
    if kind := next((kind for start, kind in _PACKED.items() if raw.startswith(start)), None):
        raise TaskError(f"{what} is {kind}, not text; unpack it, or save it as CSV or JSON lines")
    raw = raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    # A carriage return alone ends a line only in files that have no other line ends; elsewhere it is part of a text.
    pieces = raw.split(b"\n" if b"\n" in raw else b"\r")
    if len(pieces) > _MOST_LINES:
        raise TaskError(f"{what} has {len(pieces):,} lines; at most {_MOST_LINES:,} are read; give a part of it")
    bad = {number: why for number, line in enumerate(pieces, start=1) if (why := _no_text(line))}
    # A line is decoded by itself, so that one bad byte spoils no other line.
    return Text([line.decode("utf-8", "replace").replace("\0", "\ufffd") for line in pieces], bad)


def read_text_lines(path: Path, what: str, problems: Problems) -> list[str]:
    """The lines of a UTF-8 file, without their ends; lines that are no text are told and left empty.

    TaskError as `read_text`.
    """
    text = read_text(path, what)
    lines = text.lines
    for number, line in enumerate(lines, start=1):
        if why := text.bad.get(number) or too_long(line):
            problems.add(number, why)
            lines[number - 1] = ""
    return lines


def check_rows(count: int, what: str) -> None:
    """TaskError if there are more rows than are read."""
    if count > MOST_ROWS:
        raise TaskError(f"{what} has more than {MOST_ROWS:,} rows; give a part of it")


def too_long(line: str) -> str | None:
    """Why a line is no row, if it is longer than one may be."""
    if len(line) <= LONGEST_LINE:
        return None
    return f"{len(line.encode()):,} bytes long; a line may have at most {LONGEST_LINE:,}"


def _no_text(line: bytes) -> str | None:
    if (place := line.find(b"\0")) >= 0:
        return f"a NUL byte at byte {place + 1}; is this a text file?"
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"not UTF-8 ({error.reason} at byte {error.start + 1}); save the file as UTF-8"
    return None


def json_objects(lines: list[str], problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of each line that is a JSON object; empty lines are passed over, others told."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = DECODER.decode(line)
        except json.JSONDecodeError as error:
            problems.add(number, f"not JSON ({error.msg} at column {error.colno}); every line is one object")
            continue
        except RecursionError:
            problems.add(number, "JSON nested too deeply; every line is one flat object")
            continue
        if isinstance(row, Doubled):
            problems.add(number, row.why)
        elif isinstance(row, dict):
            yield number, row
        else:
            problems.add(number, f"a JSON object is needed, got {type(row).__name__}")


class Doubled(dict[str, Any]):
    """A JSON object in which a key is there twice. `why`: what is said of it."""

    why: str


class LongNumber(float):
    """A whole number of more digits than any answer has."""

    def __repr__(self) -> str:
        return "a number of very many digits"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    double = Doubled(made)
    key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
    double.why = f"the key {key[:60]!r} is there twice; keep one"
    return double


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else LongNumber("inf")


# Linear in the length of the text, whatever stands in it. pandas writes NaN where there is nothing.
DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_constant=lambda name: None if name == "NaN" else float(name),
)


def named(names: Iterable[str]) -> str:
    """Names of columns or keys in an error, in one short line whatever they are."""
    text = ", ".join(names)
    text = text if len(text) <= 120 else f"{text[:117]}…"
    return text if text.isprintable() else repr(text)


def half_letter(text: str) -> str | None:
    """Why a text is none: JSON can write half a letter (\\ud83d alone), which nothing can encode."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"half a letter ({text[error.start]!a} without the other half)"
    return None


def texts_of(
    row: Mapping[str, Any], keys: Sequence[str], what: str, number: int, problems: Problems
) -> tuple[str, ...] | None:
    """The texts under the keys, without white space around them; None, and the row told, if one is no text."""
    if isinstance(row, Doubled):
        problems.add(number, row.why)
        return None
    values = [row.get(key) for key in keys]
    found = [value.strip() for value in values if isinstance(value, str) and value.strip()]
    if len(found) == len(keys):
        if why := next(filter(None, map(half_letter, found)), None):
            problems.add(number, f"the fields {named(map(repr, keys))} must be {what}, got {why}")
            return None
        return tuple(found)
    bad = [(key, v) for key, v in zip(keys, values, strict=True) if not isinstance(v, str) or not v.strip()]
    problems.add(number, "; ".join(f"the field {key!r} must be {what}, got {brief(v)}" for key, v in bad))
    return None
