"""An export format: goes to `discogp/export/`."""

from __future__ import annotations

from discogp.export.base import Format, Wanted, register


def _names(wanted: Wanted) -> bytes:
    return "".join(f"{edge.name}\n" for edge in wanted.left().strongest(wanted.max_edges)).encode()


register(Format("txt", "Names of edges", "text/plain", None, _names))
