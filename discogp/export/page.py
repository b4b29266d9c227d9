"""One HTML file that opens from a disk and can be explored there."""

from __future__ import annotations

from discogp.drawing.standalone import standalone_html
from discogp.export.base import Format, Wanted, register


def _html(wanted: Wanted) -> bytes:
    return standalone_html(wanted.view(), wanted.theme).encode("utf-8")


register(Format("html", "Interactive page (HTML)", "text/html", 2000, _html, place=3, draws=True))
