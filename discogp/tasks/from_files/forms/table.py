"""What a file has before its columns mean anything: rows by name, from CSV in its dialects."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from discogp.errors import TaskError
from discogp.tasks.from_files.forms.base import FORMS, column_name
from discogp.tasks.from_files.lines import Problems, Text, check_rows, named, too_long

# A field that runs over more lines has lost its closing quotation mark: the search for it stops here.
_MOST_LINES_OF_A_ROW = 200
_MOST_UNCLOSED = 1000
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclass(frozen=True, slots=True)
class Table:
    """`rows`: (line, cells by column name). `columns`: those of all rows, where a header names them. `layout`: what the
    file was taken for, if that is nothing ordinary."""

    rows: list[tuple[int, dict[str, Any]]]
    columns: tuple[str, ...] | None = None
    layout: str | None = None
    separated: bool = False
    """Whether a cell is a text with several values in it."""


def csv_table(text: Text, what: str, tabs: bool, problems: Problems) -> Table:
    """A table of separated values: by commas, or by whatever makes the header name the columns of a form.

    TaskError if the first line is no header.
    """
    # Excel may say the separator on a line of its own.
    said = re.fullmatch(r"sep=(.)", text.lines[0])
    start = 1 if said else 0
    while start < len(text.lines) and not text.lines[start].strip():
        start += 1
    if start == len(text.lines):
        raise TaskError(f"{what} has no header; the first line must name the columns")
    if why := text.bad.get(start + 1) or too_long(text.lines[start]):
        raise TaskError(f"{what}, line {start + 1}: {why}")
    separator = said[1] if said else _separator(text.lines[start], tabs)
    records = _records(text, start, separator)
    number, end, header = next(records)
    if isinstance(header, str):
        raise TaskError(f"{what}, line {number}: {header}")
    columns = [column_name(name) for name in header]
    if repeated := [name for name, count in Counter(columns).items() if count > 1 and name]:
        raise TaskError(f"{what}, line {number}: the column {named(repeated)} is there twice; keep one, or rename one")
    rows: list[tuple[int, dict[str, Any]]] = []
    unclosed = 0
    for count, (number, end, record) in enumerate(records):
        check_rows(count, what)
        if bad := [n for n in range(number, end + 1) if n in text.bad]:
            problems.add(bad[0], text.bad[bad[0]])
        elif isinstance(record, str):
            problems.add(number, record)
            unclosed += "unexpected end" in record
            if unclosed > _MOST_UNCLOSED:
                raise TaskError(f"{what}: more than {_MOST_UNCLOSED:,} texts lack the quotation mark that ends them")
        elif len(record) != len(columns):
            if record and "".join(record).strip():
                marks = _SEPARATORS.get(separator, f"{separator!r} in them")
                problems.add(
                    number,
                    f"{len(record)} columns, the header has {len(columns)}; put texts with {marks} in quotation marks",
                )
        elif "".join(record).strip():
            rows.append((number, {name: cell for name, cell in zip(columns, record, strict=True) if name}))
    layout = (
        None if separator == "," else f"a table with {_SEPARATORS.get(separator, repr(separator))} between its columns"
    )
    return Table(rows, tuple(name for name in columns if name), layout, separated=True)


def _separator(header: str, tabs: bool) -> str:
    """The separator that makes most of the header: a form's columns, or else the most columns."""

    def worth(separator: str) -> tuple[bool, int]:
        try:
            names = {column_name(name) for name in next(csv.reader([header], delimiter=separator), [])}
        except csv.Error:
            return False, 0
        return any(form.fits(names) for form in FORMS.values()), len(names)

    order = ["\t", ",", ";", "|"] if tabs else [",", ";", "\t", "|"]
    return max(order, key=worth)


def _records(text: Text, start: int, separator: str) -> Iterator[tuple[int, int, list[str] | str]]:
    """(first line, last line, fields) of each record; the reason in the place of the fields if it is none.

    Every record has a reader of its own, so that what one lacks (a quotation mark) costs the next ones nothing.
    """
    place, count = start, len(text.lines)
    while place < count:
        if not text.lines[place]:
            place += 1
            continue
        last = min(place + _MOST_LINES_OF_A_ROW, count)
        reader = csv.reader((f"{text.lines[n]}\n" for n in range(place, last)), delimiter=separator, strict=True)
        if why := too_long(text.lines[place]):
            yield place + 1, place + 1, why
            place += 1
            continue
        try:
            fields: list[str] | str = next(reader, [])
            used = max(1, reader.line_num)
        except csv.Error as error:
            fields = f"not CSV ({error}); a text with quotation marks must be in marks itself, doubled inside"
            # Without its closing mark a field runs on to the end: only the line in which it begins is spoilt.
            used = 1 if "unexpected end" in fields else max(1, reader.line_num)
        yield place + 1, place + used, fields
        place += used
