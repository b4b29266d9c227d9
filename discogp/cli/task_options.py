"""`--task`, `--task-file`, `--data` and how their prompts are read: the same words in every command that needs some."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from discogp.errors import TaskError
from discogp.terms import Answers, Bos


def add_task_options(to: argparse.ArgumentParser, default: str | None = None) -> None:
    """`default` says what happens without a task; without it, one of the two must be given."""
    which = to.add_mutually_exclusive_group(required=default is None)
    more = f"; default: {default}" if default else ""
    which.add_argument("--task", help=f"a task of `tasks list`{more}")
    which.add_argument(
        "--task-file", type=Path, metavar="FILE", help="CSV, JSON or a known data set: prompt (or messages), correct, …"
    )
    to.add_argument(
        "--data", type=Path, metavar="FOLDER|FILE", help="published data (BLiMP, PARAREL, LRE, MIB) of the task"
    )
    to.add_argument(
        "--bos", choices=get_args(Bos),
        help="the token that opens a text: where the model expects it (auto), before every prompt, or before none",
    )  # fmt: skip
    to.add_argument("--exact", action="store_true", help="add and move no white space between prompt and answer")
    to.add_argument(
        "--answers", choices=get_args(Answers),
        help="of one token only, or whole, scored by all their tokens; default: whole with --task-file",
    )  # fmt: skip


def named_task(options: argparse.Namespace) -> tuple[str, dict[str, Any]] | None:
    """The name and options of the task that was asked for; None if none was."""
    from discogp.tasks import option_names

    reading = {"exact": options.exact or None, "answers": options.answers}
    if options.task_file is not None:
        if options.data is not None:
            raise TaskError("--data is for the published data of a --task; a --task-file has its own")
        name, found = "custom", {"file": str(options.task_file.resolve())}
    elif options.task is None:
        name, found = None, {}
    else:
        name, found = _published(options)
    for option, value in reading.items():
        if value is None:
            continue
        if name is None or option not in option_names(name):
            what = "no task was named" if name is None else f"the task {name!r} has its own prompts"
            raise TaskError(f"--{option} says how a --task-file is read, and {what}; leave it out")
        found[option] = value
    return None if name is None else (name, found)


def _published(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """A named task, with the folder or file of its data if that was given."""
    from discogp.tasks import get_task, option_names

    if options.data is None:
        return options.task, {}
    # A generator that can be replaced by one published file calls it `path`.
    option = next((name for name in ("data", "path") if name in option_names(options.task)), "data")
    given = {option: str(options.data.resolve())}
    return get_task(options.task, **given).name, given
