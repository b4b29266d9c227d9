"""Errors read alike, whoever raises them: they begin in lower case and end without a full stop.

They stand after a colon or in brackets as often as alone. The page makes sentences of them where it shows them so.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.places import ROOT

# Names that begin with a capital letter wherever they stand, and acronyms.
NAMES = re.compile(r"BLiMP|CairoSVG|[A-Z]{2,}")
FILES = sorted([*(ROOT / "discogp").rglob("*.py"), *(ROOT / "app").rglob("*.py")])


def messages(text: str) -> Iterator[tuple[int, str]]:
    """(line, message) of every error that is made, with {} for what is filled in."""
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Call) and node.args):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        said = node.args[0]
        if not name.endswith("Error"):
            continue
        if isinstance(said, ast.Constant) and isinstance(said.value, str):
            yield node.lineno, said.value
        elif isinstance(said, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else "{}" for part in said.values)
            yield node.lineno, "".join(parts)


def test_errors_begin_in_lower_case_and_end_without_a_full_stop() -> None:
    wrong, seen = [], 0
    for path in FILES:
        for line, message in messages(path.read_text(encoding="utf-8")):
            seen += 1
            if (message[:1].isupper() and not NAMES.match(message)) or message.rstrip().endswith("."):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {message}")
    assert wrong == []
    assert seen > 150


@pytest.mark.parametrize(
    "text", ['raise TaskError("Not so")', 'raise TaskError(f"{x} is so.")', 'x.LinkError("Not so")']
)
def test_what_is_looked_for_is_found(text: str) -> None:
    ((_, message),) = messages(text)
    assert message[0].isupper() or message.endswith(".")
