"""`tasks`: what can be searched for, and whether a model can do it."""

from __future__ import annotations

import argparse
from typing import Any

from discogp.cli.output import add_command, add_json_flag, note, say, say_json
from discogp.cli.task_options import add_task_options, named_task
from discogp.errors import TaskError


def add_to(commands: Any) -> None:
    tasks = commands.add_parser("tasks", help="known tasks").add_subparsers(required=True, metavar="list|check")
    add_json_flag(add_command(tasks, "list", _tasks_list, "what can be searched for"))
    check = add_command(tasks, "check", _tasks_check, "usable items of a task, and what the full model makes of them")
    check.add_argument("--model", required=True, help="a known model, a Hugging Face name or a folder")
    add_task_options(check, default="every task")
    check.add_argument("--limit", type=int, default=1000, help="items to run the model on, at most; default: 1000")
    check.add_argument("--seed", type=int, default=0)
    check.add_argument("--device", default="cpu")
    add_json_flag(check)


def _tasks_list(options: argparse.Namespace) -> None:
    from discogp.tasks import list_tasks

    tasks = list_tasks()
    if options.json:
        say_json([{"name": t.name, "title": t.title, "description": t.description, "source": t.source} for t in tasks])
        return
    for task in tasks:
        say(f"{task.name:26} {task.title}: {task.description}")


def _tasks_check(options: argparse.Namespace) -> None:
    from discogp.engine.masked_transformer import load_model
    from discogp.prompts.task_check import SHOWN, check_task
    from discogp.tasks import get_task

    named = named_task(options)
    if named is None:
        _check_all(options)
        return
    task = get_task(named[0], **named[1])
    model = load_model(options.model, device=options.device)
    check = check_task(model, task, options.limit, options.seed, options.bos)
    for message in check.notes:
        note(f"note: {message}")
    result = check.to_json()
    if options.json:
        say_json(result)
        return
    say(_HEADER)
    say(_line(result))
    for reason, count in check.dropped.items():
        say(f"{count} dropped: {reason}")
    say(f"as the model is asked, a bar between tokens ({_SIGNS}; opening token: {check.bos}):")
    for place, example in enumerate(result["prompts"]):
        if place == SHOWN and check.scored > 2 * SHOWN:
            say("…")
        say(_preview(example))


def _check_all(options: argparse.Namespace) -> None:
    """One row a task, also for those that are refused."""
    from discogp.engine.masked_transformer import load_model
    from discogp.prompts.task_check import check_task
    from discogp.tasks import get_task, list_tasks, option_names

    model = load_model(options.model, device=options.device)
    rows = []
    if not options.json:
        say(_HEADER)
    for task in list_tasks():
        if task.name == "custom":
            continue
        try:
            if options.data is not None and "data" in option_names(task.name):
                if not options.data.is_dir():
                    raise TaskError("--data is one file; name its task with --task, or give a folder")
                task = get_task(task.name, data=options.data)
            row = check_task(model, task, options.limit, options.seed, options.bos).to_json()
        except TaskError as error:
            row = {"task": task.name, "refused": str(error)}
        rows.append(row)
        if not options.json:
            say(_line(row))
    if options.json:
        say_json(rows)


_HEADER = (
    f"{'task':56} {'usable':>7} {'of':>7} {'kept':>6} {'right':>6} {'chance':>6} {'top-1':>6} {'diff':>6} {'s':>5}"
)


def _line(row: dict[str, Any]) -> str:
    if "refused" in row:
        return f"{row['task']:56} refused: {row['refused'].splitlines()[0]}"
    top1 = "–" if row["top1"] is None else f"{row['top1']:.1%}"
    return (
        f"{row['task']:56} {row['kept']:7,} {row['items']:7,} {row['kept_share']:6.1%} {row['accuracy']:6.1%} "
        f"{row['chance']:6.1%} {top1:>6} {row['logit_diff']:z6.2f} {row['seconds']:5.1f}"
        + (" (whole sentences)" if row["sentences"] else "")
    )


_SIGNS = "· is a space, ⏎ a line end, ⇥ a tab"


def _preview(example: dict[str, Any]) -> str:
    """One prompt in its tokens, with its answers in theirs."""
    if "sentences" in example:
        return " | ".join(example["sentences"])
    right, wrong = (" ".join(map("|".join, example[f"{side}_tokens"])) for side in ("correct", "wrong"))
    more = len(example["correct"]) - len(example["correct_tokens"])
    right += f" and {more} more" if more > 0 else ""
    place = f"{example['where']}, " if example["where"] else ""
    return f"{place}{'right' if example['right'] else 'wrong'}: {'|'.join(example['tokens'])} → {right} (not {wrong})"
