"""The command line: `python -m discogp …`, the same capabilities as the page. One module a group of commands.

Results go to standard output (JSON with --json), progress and errors to standard error. Exit code 0: done; 1: something
the user can mend, told in one line; 2: wrong usage; 130: interrupted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from discogp.cli import bench, circuits, discover, importing, methods, models, tasks
from discogp.cli.output import CommandParser, note, prepare_streams, told
from discogp.errors import DiscoGPError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        prepare_streams()
        options = _parser().parse_args(arguments)
        options.run(options)
    except DiscoGPError as error:
        note(f"error: {told(error)}")
        return 1
    except KeyboardInterrupt:
        note("interrupted")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="python -m discogp", description="Find, score and export circuits.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (models, tasks, methods, discover, circuits, importing, bench):
        group.add_to(commands)
    return parser
