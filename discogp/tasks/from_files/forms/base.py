"""What a form is: the columns by which its rows are known, and what they are in our own.

A row in our own columns has `prompt` (or `messages`), `correct` and `wrong`, and, if wanted, `counterfactual`, `group`
and `exact` (nothing is to be added to or taken from what is written). One file a form, plus one call of `register`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from discogp.errors import TaskError
from discogp.registry import Registry

Cells = dict[str, Any]
Row = tuple[int, Cells]

OPTIONAL = ("counterfactual", "group", "exact")
# Longer than any list of answers in a cell; text that is parsed has to have a bound.
_LONGEST_LIST = 20_000


class Unfit(Exception):
    """A row that is wrong in itself; the message says how."""


@dataclass(frozen=True, slots=True)
class Form:
    """`needs`: the columns, each with its alternatives ("corrupted|corrupt"), names as `column_name` makes them.
    `taken`: which column became what, for people. `convert`: such a row in our own columns, or Unfit.
    `unless`: columns of which each says that the row is of another form.
    """

    title: str
    needs: tuple[str, ...]
    taken: str
    convert: Callable[[Cells], Cells]
    unless: tuple[str, ...] = ()

    def missing(self, columns: Collection[str]) -> tuple[str, ...]:
        """What it needs and the columns lack."""
        return tuple(need.replace("|", " or ") for need in self.needs if not any(c in columns for c in need.split("|")))

    def fits(self, columns: Collection[str]) -> bool:
        return not self.missing(columns) and not any(column in columns for column in self.unless)


FORMS: Registry[Form] = Registry("form of task files", ("discogp.tasks.from_files.forms",), TaskError)


def register(name: str, form: Form) -> Form:
    return FORMS.add(name, form)


def column_name(name: str) -> str:
    """The name that a column goes by, however it is written: "Correct IDX " is `correct_idx`."""
    return re.sub(r"[\s\-_]+", "_", name.strip(' \t"').lower())


def first_of(cells: Mapping[str, Any], names: str) -> Any:
    """The cell under the first of the alternatives ("corrupted|corrupt") that is a column."""
    return next((cells[name] for name in names.split("|") if name in cells), None)


def listed(value: Any) -> list[Any]:
    """A cell that holds several values: a list, the text of one as Python or JSON writes it, or one value alone."""
    if isinstance(value, list):
        return value
    if isinstance(value, str) and value.strip().startswith("[") and len(value) <= _LONGEST_LIST:
        try:
            found = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return [value]
        return found if isinstance(found, list) else [value]
    return [value]


def kept(cells: Mapping[str, Any], **converted: Any) -> Cells:
    """The converted columns, and those that are called as ours and have not been converted."""
    return {name: cells[name] for name in OPTIONAL if name in cells} | converted
