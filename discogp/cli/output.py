"""What commands print, and how: results to standard output, notes to standard error."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from typing import Any

# A percent sign that begins no format such as %(default)s; argparse would take it for one and fail.
_BARE_PERCENT = re.compile(r"%(?!\(\w+\)[sdr])")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()  # a table grows row by row, in a pipe too


def note(text: str) -> None:
    sys.stderr.write(text + "\n")


def say_json(data: Any) -> None:
    say(json.dumps(data, indent=2, allow_nan=False))


class _Help(argparse.HelpFormatter):
    """Help texts are written as they are read: a percent sign is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return None if action.help is None else _BARE_PERCENT.sub("%%", action.help)


class CommandParser(argparse.ArgumentParser):
    """A command, or a group of them; what is added to a group is of this class too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _Help, **options})


def add_command(
    parent: Any, name: str, run: Callable[[argparse.Namespace], None], help: str
) -> argparse.ArgumentParser:
    """A sub-command that calls `run` with its parsed options."""
    made = parent.add_parser(name, help=help, description=help)
    made.set_defaults(run=run)
    return made


def add_json_flag(to: argparse.ArgumentParser) -> None:
    to.add_argument("--json", action="store_true", help="print JSON")
