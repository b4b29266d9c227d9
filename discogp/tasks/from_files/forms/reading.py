"""A file of prompts as rows, whoever's form it has."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discogp.errors import TaskError
from discogp.tasks.from_files.lines import Problems, json_objects, read_text_lines

REQUIRED = ("prompt", "correct", "wrong")
OPTIONAL = ("counterfactual", "group")
WHAT = "task file"

Row = tuple[int, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Rows:
    """`rows`: (line, cells under the names of our own columns). `taken`: what was taken for what, in one line, for a
    file in somebody else's form."""

    rows: Iterable[Row]
    taken: str | None = None


def read_rows(path: Path, problems: Problems) -> Rows:
    """The rows of a file. Those that cannot be read are told to `problems`; TaskError if the file cannot be."""
    lines = read_text_lines(path, WHAT, problems)
    is_json = path.suffix.lower() in (".jsonl", ".json", ".ndjson") or lines[0].lstrip().startswith("{")
    return Rows(_json_rows(lines, problems) if is_json else _csv_rows(lines, path, problems))


def _csv_rows(lines: list[str], path: Path, problems: Problems) -> Iterator[Row]:
    """(line, column: text) of each row. The numbers are those of the file, also where a field has line ends."""
    reader = csv.reader((f"{line}\n" for line in lines), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise TaskError(f"the {WHAT} {path.name!r}, line 1: not CSV ({error})") from error
    if missing := [name for name in REQUIRED if name not in header]:
        hint = (
            "; separate the columns by commas"
            if len(header) == 1 and header[0].count(";") + header[0].count("\t")
            else ""
        )
        raise TaskError(
            f"the {WHAT} {path.name!r}, line 1: no column {', '.join(missing)}; the first line must name the columns "
            f"{', '.join(REQUIRED)} and, if wanted, {', '.join(OPTIONAL)}; it is {','.join(header)!r:.120}{hint}"
        )
    if repeated := [name for name, count in Counter(header).items() if count > 1 and name in (*REQUIRED, *OPTIONAL)]:
        raise TaskError(f"the {WHAT} {path.name!r}, line 1: the column {', '.join(repeated)} is there twice; keep one")
    while True:
        first = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.add(
                first, f"not CSV ({error}); a text with quotation marks must be in marks itself, doubled inside"
            )
            continue
        if not row or not "".join(row).strip():
            continue
        if len(row) != len(header):
            problems.add(
                first, f"{len(row)} columns, the header has {len(header)}; put texts with commas in quotation marks"
            )
            continue
        yield first, dict(zip(header, row, strict=True))


def _json_rows(lines: list[str], problems: Problems) -> Iterator[Row]:
    for number, row in json_objects(lines, problems):
        if missing := [name for name in REQUIRED if name not in row]:
            problems.add(number, f"no column {', '.join(missing)}")
        else:
            yield number, row
