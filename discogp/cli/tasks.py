"""`tasks`: what can be searched for."""

from __future__ import annotations

import argparse
from typing import Any

from discogp.cli.output import add_command, add_json_flag, say, say_json


def add_to(commands: Any) -> None:
    tasks = commands.add_parser("tasks", help="known tasks").add_subparsers(required=True, metavar="list")
    add_json_flag(add_command(tasks, "list", _tasks_list, "what can be searched for"))


def _tasks_list(options: argparse.Namespace) -> None:
    from discogp.tasks import list_tasks

    tasks = list_tasks()
    if options.json:
        say_json([{"name": t.name, "title": t.title, "description": t.description, "source": t.source} for t in tasks])
        return
    for task in tasks:
        say(f"{task.name:26} {task.title}: {task.description}")
