"""What commands print, and how: results to standard output, notes to standard error."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()  # a table grows row by row, in a pipe too


def note(text: str) -> None:
    sys.stderr.write(text + "\n")


def say_json(data: Any) -> None:
    say(json.dumps(data, indent=2, allow_nan=False))


def add_command(
    parent: Any, name: str, run: Callable[[argparse.Namespace], None], help: str
) -> argparse.ArgumentParser:
    """A sub-command that calls `run` with its parsed options."""
    made = parent.add_parser(name, help=help, description=help)
    made.set_defaults(run=run)
    return made


def add_json_flag(to: argparse.ArgumentParser) -> None:
    to.add_argument("--json", action="store_true", help="print JSON")
