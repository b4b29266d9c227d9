"""A file of prompts as rows with our own columns, whoever's form it has.

First what the file is (CSV in its dialects, JSON lines, a JSON list, a table of pandas, parquet), told by its content
more than by its name; then whose columns it has, told by their names alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discogp.errors import TaskError, brief
from discogp.tasks.from_files.forms.base import FORMS, OPTIONAL, Cells, Form, Row, Unfit, column_name
from discogp.tasks.from_files.forms.json_table import json_table
from discogp.tasks.from_files.forms.own import OWN
from discogp.tasks.from_files.forms.parquet import MAGIC, parquet_table
from discogp.tasks.from_files.forms.table import Table, csv_table
from discogp.tasks.from_files.lines import LONGEST_LINE, Problems, as_text, half_letter, read_bytes

WHAT = "task file"
# Columns of published data that have a task of their own.
_PUBLISHED = {
    "sentence_good": "BLiMP's; give the file with --task blimp/PARADIGM --data FILE",
    "sub_label": "PARAREL's; give its folder with --task pararel/RELATION --data FOLDER",
}


@dataclass(frozen=True, slots=True)
class Rows:
    """`rows`: (line, cells under the names of our own columns). `taken`: what was taken for what, in one line, for a
    file that is not simply CSV or JSON in our own form."""

    rows: Iterator[Row]
    taken: str | None = None


def read_rows(path: Path, problems: Problems) -> Rows:
    """The rows of a file in any known form. Rows that are wrong are told to `problems` as they are come upon.

    TaskError if the file cannot be read, or if its columns are those of no form, or of two.
    """
    what = f"the {WHAT} {path.name!r}"
    table = _table(path, what, problems)
    if not table.rows:
        problems.refuse_if_empty(0)
    rows = [(line, row) for line, cells in table.rows if (row := _named(line, cells, problems)) is not None]
    form, others = _form(table, rows, what, problems)
    return Rows(_converted(rows, form, table.separated, problems), _taken(path, table, form, others))


def _table(path: Path, what: str, problems: Problems) -> Table:
    raw = read_bytes(path, WHAT)
    suffix = path.suffix.lower()
    if raw.startswith(MAGIC) or suffix == ".parquet":
        return parquet_table(raw, what, problems)
    text = as_text(raw, what)
    first = next((line.lstrip() for line in text.lines if line.strip()), "")
    if suffix in (".json", ".jsonl", ".ndjson") or first.startswith(("{", "[")):
        return json_table(text, what, suffix in (".jsonl", ".ndjson"), problems)
    return csv_table(text, what, suffix in (".tsv", ".tab"), problems)


def _named(line: int, cells: dict[str, Any], problems: Problems) -> Cells | None:
    """The row under the names its columns go by; None, and told, if two of them are one."""
    if why := getattr(cells, "why", None):
        problems.add(line, why)
        return None
    names = {name: column_name(str(name)) for name in cells}
    if len(set(names.values())) < len(names):
        double = next(name for name, count in Counter(names.values()).items() if count > 1)
        problems.add(line, f"the column {double[:60]!r} is there twice; keep one")
        return None
    return {names[name]: cell for name, cell in cells.items()}


def _form(table: Table, rows: Sequence[Row], what: str, problems: Problems) -> tuple[Form, list[Form]]:
    """The form that the columns are of, and others that they would do for as well."""
    if table.columns is not None:
        known = [set(map(column_name, table.columns))]
    else:
        known = [set(columns) for columns in dict.fromkeys(frozenset(cells) for _, cells in rows)]
    for columns in known:
        fitting = [form for form in FORMS.values() if form.fits(columns)]
        if OWN in fitting:
            return OWN, [form for form in fitting if form is not OWN]
        if len(fitting) > 1:
            forms = " and ".join(f"{form.title} ({', '.join(form.needs)})" for form in fitting)
            raise TaskError(f"{what}: the columns fit {forms}; leave out the columns of one".replace("|", " or "))
        if fitting:
            return fitting[0], []
    if not rows:
        problems.refuse_if_any()
    raise TaskError(_no_form(max(known, key=len, default=set()), rows[0][0] if rows else 1, table, what, problems.unit))


def _no_form(columns: Collection[str], line: int, table: Table, what: str, unit: str) -> str:
    """What is missing, by the form that the columns come nearest to."""
    nearest = max((OWN, *FORMS.values()), key=lambda form: 1 - len(form.missing(columns)) / len(form.needs))
    for column, hint in _PUBLISHED.items():
        if column in columns:
            return f"{what}: its columns are {hint}"
    where = f"{unit} {line}" if table.columns is None else "line 1" if unit == "line" else "its columns"
    missing = [name.split(" or ")[0] if nearest is OWN else name for name in nearest.missing(columns)]
    like = (
        ""
        if nearest is OWN
        else f" (it looks most like {nearest.title}'s form: {', '.join(nearest.needs)})".replace("|", " or ")
    )
    found = ",".join(columns if table.columns is None else table.columns)
    titles = ", ".join(form.title for form in FORMS.values() if form is not OWN)
    return (
        f"{what}, {where}: no column {', '.join(missing)}{like}; the first line must name the columns prompt, correct, "
        f"wrong and, if wanted, {', '.join(OPTIONAL)}, or those of another form ({titles}); it is {found!r:.160}"
    )


def _converted(rows: Sequence[Row], form: Form, separated: bool, problems: Problems) -> Iterator[Row]:
    for line, cells in rows:
        if missing := form.missing(cells):
            problems.add(line, f"no column {', '.join(missing)}")
            continue
        try:
            row = form.convert(cells)
        except Unfit as error:
            problems.add(line, str(error))
            continue
        if separated:
            row |= {
                name: str(row[name]).split("|")
                for name in ("correct", "wrong")
                if type(row.get(name)) is str and row[name]
            }
        if fault := _unasked(row):
            problems.add(line, fault)
        else:
            yield line, row


def _unasked(row: Cells) -> str | None:
    """Why no question can be made of the cells, whatever they mean: too long, too deep, or no text at all."""
    for name in ("prompt", "correct", "wrong", "counterfactual", "group", "messages"):
        value = row.get(name)
        turns = name == "messages" or (name == "counterfactual" and "messages" in row)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, list | dict) and not turns:
                return f"column {name!r}: a text needed, got {brief(value)}"
            texts = list(item.values()) if isinstance(item, dict) else [item]
            if fault := next(filter(None, map(_no_text, texts)), None):
                return f"column {name!r}: {fault}"
    return None


def _no_text(item: Any) -> str | None:
    if not isinstance(item, str):
        return None
    if len(item) > LONGEST_LINE:
        return f"{len(item):,} letters; a text may have at most {LONGEST_LINE:,}"
    return half_letter(item)


def _taken(path: Path, table: Table, form: Form, others: Sequence[Form]) -> str | None:
    parts = [table.layout] if table.layout else []
    if form is not OWN:
        parts.append(f"the form of {form.title}: {form.taken}")
    elif others:
        parts.append(f"prompt, correct and wrong; its columns for {', '.join(o.title for o in others)} are passed over")
    return f"{path.name} is read as {'; '.join(parts)}" if parts else None
