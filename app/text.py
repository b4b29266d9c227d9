"""Words from files, models and users, made fit for Streamlit's markdown."""

from __future__ import annotations

from discogp.errors import DiscoGPError

_MARKUP = frozenset("\\`*_{}[]()#+!|<>$:~")


def sendable(text: str) -> str:
    """The text as a browser can be sent it: a lone half of a character, which UTF-8 has not, as its number."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def plain(text: str) -> str:
    """The text with its markup characters escaped: shown as they are, an image in it is not fetched."""
    return "".join(f"\\{character}" if character in _MARKUP else character for character in sendable(text))


def error_text(error: BaseException) -> str:
    """What went wrong, as markdown. The project's own errors are sentences already; others need their kind."""
    return plain(str(error) if isinstance(error, DiscoGPError) else f"{type(error).__name__}: {error}")
