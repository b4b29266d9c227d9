"""What commands print, and how: results to standard output, notes to standard error."""

from __future__ import annotations

import argparse
import codecs
import io
import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from discogp.cli.arguments import READERS
from discogp.errors import DiscoGPError

# A percent sign that begins no format such as %(default)s; argparse would take it for one and fail.
_BARE_PERCENT = re.compile(r"%(?!\(\w+\)[sdr])")
_LONG_WORD = re.compile(r"\S{301,}")
_MOST_TOLD = 1500
# What commands print beyond ASCII, for a terminal that has no more.
_IN_ASCII = str.maketrans(
    dict(
        zip(
            "“”„‘’–—−‑×·Δ→␣\u00a0",
            ['"', '"', '"', "'", "'", "-", "-", "-", "-", "x", "*", "d", "->", "_", " "],
            strict=True,
        )
    )
    | {"…": "...", "²": "^2", "≥": ">=", "≤": "<="}
)
_PLAINLY = "discogp-plainly"


class OutputError(DiscoGPError):
    """Standard output that nothing can be written to."""


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """The error handler of encodings for what they cannot write: the nearest sign, else its number."""
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(ord(sign)) or ascii(sign)[1:-1] for sign in lost), error.end


def prepare_streams() -> None:
    """Make both streams take every text, whatever their encoding. OutputError if standard output is closed.

    A closed standard error loses its texts: otherwise the next file that is opened would get them.
    """
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # for as long as the process lives
    codecs.register_error(_PLAINLY, _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_PLAINLY)
    if sys.stdout is None:
        raise OutputError("standard output is closed, so no result could be told; leave it open, or send it to a file")


def say(text: str) -> None:
    """A line of a result. OutputError where it cannot be written."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()  # a table grows row by row, in a pipe too
    except (OSError, ValueError) as error:  # ValueError: closed meanwhile
        _give_up(sys.stdout)
        why = "its reader has gone" if isinstance(error, BrokenPipeError) else getattr(error, "strerror", None) or error
        raise OutputError(
            f"standard output took no more ({why}); send what is printed to a place that takes it all"
        ) from error


def note(text: str) -> None:
    try:
        sys.stderr.write(text + "\n")
    except (OSError, ValueError):  # nobody can be told
        _give_up(sys.stderr)


def told(error: object) -> str:
    """An error's text as one line of bounded length, whatever was quoted in it."""
    line = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in " ".join(str(error).splitlines()))
    return _LONG_WORD.sub(lambda word: f"{word.group()[:60]}…{word.group()[-20:]}", line)[:_MOST_TOLD]


def _give_up(stream: Any) -> None:
    """Let what the stream still holds go nowhere: at its end the interpreter would fail on it once more."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def say_json(data: Any) -> None:
    say(json.dumps(data, indent=2, allow_nan=False))


class _Help(argparse.HelpFormatter):
    """Help texts are written as they are read: a percent sign is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return None if action.help is None else _BARE_PERCENT.sub("%%", action.help)


class CommandParser(argparse.ArgumentParser):
    """A command, or a group of them; what is added to a group is of this class too.

    Numbers, paths and texts are read by `arguments`, with bounds, and what is wrong is told in one line.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _Help, **options})
        for kind, reader in READERS.items():
            self.register("type", kind, reader)

    def add_subparsers(self, **options: Any) -> Any:
        """A group's commands. What follows a command is read by that command, which names the option that is wrong."""
        made: Any = super().add_subparsers(**options)
        made.type = str
        return made

    def error(self, message: str) -> NoReturn:
        note(f"error: {told(message)}; see {self.prog} --help")
        sys.exit(2)

    def print_help(self, file: Any = None) -> None:
        say(self.format_help().rstrip("\n"))


def add_command(
    parent: Any, name: str, run: Callable[[argparse.Namespace], None], help: str
) -> argparse.ArgumentParser:
    """A sub-command that calls `run` with its parsed options."""
    made = parent.add_parser(name, help=help, description=help)
    made.set_defaults(run=run)
    return made


def add_json_flag(to: argparse.ArgumentParser) -> None:
    to.add_argument("--json", action="store_true", help="print JSON")
