"""Tasks: prompts, counterfactuals, splits. One file per task; a model is never imported here."""

from discogp.tasks import agreement, ioi  # noqa: F401 - importing a task's module registers it
from discogp.tasks.base import (
    Example,
    Splits,
    SplitSizes,
    Task,
    get_task,
    list_tasks,
    register,
    unregister,
)
from discogp.tasks.encoding import Encoded, Prompts, encode

__all__ = [
    "Encoded",
    "Example",
    "Prompts",
    "SplitSizes",
    "Splits",
    "Task",
    "encode",
    "get_task",
    "list_tasks",
    "register",
    "unregister",
]
