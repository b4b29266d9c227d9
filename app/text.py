"""Words from files, models and users, made fit for Streamlit's markdown."""

from __future__ import annotations

_MARKUP = frozenset("\\`*_{}[]()#+!|<>$:~")


def plain(text: str) -> str:
    """The text with its markup characters escaped: shown as they are, an image in it is not fetched."""
    return "".join(f"\\{character}" if character in _MARKUP else character for character in text)
