"""`--task`, `--task-file` and `--data`: which prompts, the same words in every command that needs some."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from discogp.errors import TaskError


def add_task_options(to: argparse.ArgumentParser, default: str | None = None) -> None:
    """`default` says what happens without a task; without it, one of the two must be given."""
    which = to.add_mutually_exclusive_group(required=default is None)
    more = f"; default: {default}" if default else ""
    which.add_argument("--task", help=f"a task of `tasks list`{more}")
    which.add_argument("--task-file", type=Path, metavar="FILE", help="CSV or JSONL: prompt, correct, wrong, …")
    to.add_argument("--data", type=Path, metavar="FOLDER|FILE", help="published data (BLiMP, PARAREL) of the task")


def named_task(options: argparse.Namespace) -> tuple[str, dict[str, Any]] | None:
    """The name and options of the task that was asked for; None if none was."""
    from discogp.tasks import get_task, option_names

    data = None if options.data is None else str(options.data.resolve())
    if options.task_file is not None:
        if data is not None:
            raise TaskError("--data is for the published data of a --task; a --task-file has its own")
        return "custom", {"file": str(options.task_file.resolve())}
    if options.task is None:
        return None
    if data is None:
        return options.task, {}
    # A generator that can be replaced by one published file calls it `path`.
    option = next((name for name in ("data", "path") if name in option_names(options.task)), "data")
    return get_task(options.task, **{option: data}).name, {option: data}
