"""Plain lists of the kept edges, strongest first, with their scores: text and CSV, read back by `import`."""

from __future__ import annotations

from discogp.circuits.foreign.edge_lists import edge_list
from discogp.export.base import Format, Wanted, register


def _list(wanted: Wanted, separator: str) -> bytes:
    comments = [f"{name}: {text}" for name, text in wanted.facts.items()]
    text = edge_list(wanted.left(), comments, separator=separator, most=wanted.max_edges)
    return text.encode("utf-8", "replace")


def _text(wanted: Wanted) -> bytes:
    return _list(wanted, "\t")


def _csv(wanted: Wanted) -> bytes:
    return _list(wanted, ",")


register(Format("edges", "List of edges (text)", "text/plain", None, _text, place=9, ending="txt"))
register(Format("csv", "List of edges (CSV)", "text/csv", None, _csv, place=10))
