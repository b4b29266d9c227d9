"""JSON as a table: lines, a list of rows, an object that has one, and what pandas writes.

An object or a list is taken apart here element by element, so that what is wrong with a row is told with its line.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any

from discogp.errors import TaskError, brief
from discogp.tasks.from_files.forms.base import FORMS, column_name
from discogp.tasks.from_files.forms.table import Table
from discogp.tasks.from_files.lines import DECODER, Problems, Text, check_rows, json_objects, named, too_long

_SPACE = re.compile(r"[ \t\n\r]*")
# The first of these is meant where an object has several lists of rows.
_ROWS = ("prompts", "data", "rows", "examples", "samples")


@dataclass(frozen=True, slots=True)
class Listing:
    """A JSON list, taken apart: (line, element)."""

    items: tuple[tuple[int, Any], ...]


class _Document:
    """A text that is one JSON value, read element by element."""

    def __init__(self, text: str, what: str) -> None:
        self._text, self._what = text, what
        self._ends = list(accumulate(len(line) + 1 for line in text.split("\n")))

    def line(self, place: int) -> int:
        return bisect_right(self._ends, place) + 1

    def read(self) -> tuple[Any, bool]:
        """The value, as a Listing, a dict (whose lists are Listings) or whatever else it is; whether it is all there
        is. ValueError or RecursionError if it is no JSON."""
        place = self._skip(0)
        if self._text[place : place + 1] == "[":
            value, place = self._list(place)
        elif self._text[place : place + 1] == "{":
            value, place = self._object(place)
        else:
            value, place = DECODER.raw_decode(self._text, place)
        return value, self._skip(place) == len(self._text)

    def _skip(self, place: int) -> int:
        found = _SPACE.match(self._text, place)
        return found.end() if found else place

    def _expect(self, place: int, marks: str) -> str:
        mark = self._text[place : place + 1]
        if not mark or mark not in marks:
            raise json.JSONDecodeError(f"{' or '.join(map(repr, marks))} expected", self._text, place)
        return mark

    def _list(self, place: int) -> tuple[Listing, int]:
        items: list[tuple[int, Any]] = []
        place = self._skip(place + 1)
        if self._text[place : place + 1] == "]":
            return Listing(()), place + 1
        while True:
            line = self.line(place)
            value, place = DECODER.raw_decode(self._text, place)
            items.append((line, value))
            check_rows(len(items), self._what)
            place = self._skip(place)
            if self._expect(place, ",]") == "]":
                return Listing(tuple(items)), place + 1
            place = self._skip(place + 1)

    def _object(self, place: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        place = self._skip(place + 1)
        if self._text[place : place + 1] == "}":
            return found, place + 1
        while True:
            self._expect(place, '"')
            line = self.line(place)
            key, place = DECODER.raw_decode(self._text, place)
            check_rows(len(found), self._what)
            if key in found:
                raise TaskError(f"{self._what}, line {line}: the key {key[:60]!r} is there twice; keep one")
            place = self._skip(place)
            self._expect(place, ":")
            place = self._skip(place + 1)
            if self._text[place : place + 1] == "[":
                found[key], place = self._list(place)
            else:
                found[key], place = DECODER.raw_decode(self._text, place)
            place = self._skip(place)
            if self._expect(place, ",}") == "}":
                return found, place + 1
            place = self._skip(place + 1)


def json_table(text: Text, what: str, by_lines: bool, problems: Problems) -> Table:
    """The rows of a JSON file. `by_lines`: its name says that every line is an object.

    TaskError, with line and column, if it is neither that nor one JSON value; if that has no rows; or if a key is
    there twice. A row that cannot be read is told to `problems`.
    """
    try:
        return _of(read_document(text, what), what, problems)
    except NotJsonError:
        if not _by_lines(text, by_lines):
            raise
    return Table(list(_lines(text, what, problems)))


class NotJsonError(TaskError):
    """A text that is no JSON value, or more than one."""


def read_document(text: Text, what: str) -> Any:
    """The one JSON value that a text is: a Listing, a dict whose lists are Listings, or a plain value.

    NotJsonError, with line and column, if it is none; TaskError if a key is there twice.
    """
    if text.bad:
        number, why = next(iter(text.bad.items()))
        raise NotJsonError(f"{what}, line {number}: {why}")
    try:
        value, whole = _Document("\n".join(text.lines), what).read()
    except json.JSONDecodeError as error:
        raise NotJsonError(
            f"{what}, line {error.lineno}: not JSON ({error.msg} at column {error.colno}); give a list of objects, or "
            "one object a line"
        ) from error
    except RecursionError as error:
        raise NotJsonError(f"{what}: JSON nested too deeply; give a list of flat objects") from error
    if not whole:
        raise NotJsonError(f"{what} has several JSON values; give a list of objects, or one object a line")
    return value


def _by_lines(text: Text, named_so: bool) -> bool:
    filled = list(islice((line.strip() for line in text.lines if line.strip()), 2))
    return filled[0][:1] != "[" and (named_so or (len(filled) > 1 and filled[0].endswith("}")))


def _lines(text: Text, what: str, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = list(text.lines)
    check_rows(len(lines), what)
    for number, line in enumerate(lines, start=1):
        if why := text.bad.get(number) or too_long(line):
            problems.add(number, why)
            lines[number - 1] = ""
    return json_objects(lines, problems)


def _of(value: Any, what: str, problems: Problems) -> Table:
    if isinstance(value, Listing):
        return _listed(value, what, None, problems)
    if not isinstance(value, dict):
        raise TaskError(f"{what} is one JSON value, {brief(value)}; give a list of objects, or one object a line")
    return _pandas(value, what, problems) or _contained(value, what, problems)


def _listed(value: Listing, what: str, layout: str | None, problems: Problems) -> Table:
    if value.items and all(isinstance(item, list) for _, item in value.items):
        raise TaskError(
            f"{what} is a list of lists, whose columns have no names; give a list of objects with the keys prompt, "
            "correct, wrong"
        )
    rows: list[tuple[int, dict[str, Any]]] = []
    for line, item in value.items:
        # The hub's viewer hands rows out in an envelope.
        inner = item["row"] if isinstance(item, dict) and isinstance(item.get("row"), dict) else item
        if isinstance(inner, dict):
            rows.append((line, inner))
        else:
            problems.add(line, f"a JSON object is needed, got {brief(item)}")
    return Table(rows, layout=layout)


def _is_form(names: Any) -> bool:
    columns = {column_name(str(name)) for name in names}
    return any(form.fits(columns) for form in FORMS.values())


def _pandas(value: dict[str, Any], what: str, problems: Problems) -> Table | None:
    """What `DataFrame.to_json` and `to_dict` write, in the orients split, index, columns and list."""
    if isinstance(names := value.get("columns"), Listing) and isinstance(data := value.get("data"), Listing):
        columns = [name for _, name in names.items]
        if not all(isinstance(name, str) for name in columns):
            raise TaskError(f"{what}: the column names must be texts, got {brief(columns)}")
        rows: list[tuple[int, dict[str, Any]]] = []
        for line, cells in data.items:
            if isinstance(cells, list) and len(cells) == len(columns):
                rows.append((line, dict(zip(columns, cells, strict=True))))
            else:
                problems.add(line, f"{len(columns)} cells needed, as there are columns, got {brief(cells)}")
        return Table(rows, tuple(columns), "pandas' table (orient split)")
    if value and all(isinstance(column, Listing) for column in value.values()) and _is_form(value):
        return _by_column(
            {name: dict(enumerate(item for _, item in c.items)) for name, c in value.items()}, "list", what, problems
        )
    if value and all(isinstance(column, Mapping) for column in value.values()):
        if _is_form(value):
            return _by_column(value, "columns", what, problems)
        problems.unit = "row"
        return Table(list(enumerate(value.values(), start=1)), layout="pandas' table (orient index)")
    return None


def _by_column(value: Mapping[str, Mapping[Any, Any]], orient: str, what: str, problems: Problems) -> Table:
    problems.unit = "row"
    first = next(iter(value.values()))
    if any(column.keys() != first.keys() for column in value.values()):
        raise TaskError(f"{what}: its columns have not the same rows; give each column a value for every row")
    rows = [{name: column[key] for name, column in value.items()} for key in first]
    return Table(list(enumerate(rows, start=1)), tuple(value), f"pandas' table (orient {orient})")


def _contained(value: dict[str, Any], what: str, problems: Problems) -> Table:
    """The rows that an object has under one of its keys; or the object as the only row."""
    if _is_form(value) or not any(isinstance(item, Listing | Mapping) for item in value.values()):
        return Table([(1, _plain(value))])
    if "prompt_templates" in value and "samples" in value:
        raise TaskError(f"{what} is an LRE relation; give it with --task lre/RELATION --data FILE")
    lists = [
        key
        for key, items in value.items()
        if isinstance(items, Listing) and any(isinstance(item, dict) for _, item in items.items)
    ]
    chosen = next((key for key in _ROWS if key in lists), lists[0] if len(lists) == 1 else None)
    if chosen is None:
        several = f"several lists of rows ({named(lists)}); give one of them" if lists else "no list of rows"
        raise TaskError(
            f"{what} is a JSON object with the keys {named(value) or '(none)'} and {several}; wanted: a list "
            "of objects with the keys prompt, correct, wrong, or such a list under the key prompts"
        )
    return _listed(value[chosen], what, None if chosen == "prompts" else f"the rows under {brief(chosen)}", problems)


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return {key: [x for _, x in item.items] if isinstance(item, Listing) else item for key, item in value.items()}
