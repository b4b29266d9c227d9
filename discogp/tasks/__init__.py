"""Tasks: prompts, counterfactuals, splits. One file per task; a model is never imported here."""

from discogp.tasks import (  # noqa: F401 - importing a task's module registers it
    agreement,
    blimp,
    capitals,
    custom,
    docstring,
    gendered_pronoun,
    greater_than,
    induction,
    ioi,
    pararel,
)
from discogp.tasks.base import (
    Example,
    Splits,
    SplitSizes,
    Task,
    get_task,
    list_tasks,
    option_names,
    register,
    task_options,
    unregister,
)
from discogp.tasks.counterfactuals import paired
from discogp.tasks.encoding import Encoded, Prompts, encode
from discogp.tasks.fitting import fitted
from discogp.tasks.pool import Pool, PooledTask

__all__ = [
    "Encoded",
    "Example",
    "Pool",
    "PooledTask",
    "Prompts",
    "SplitSizes",
    "Splits",
    "Task",
    "encode",
    "fitted",
    "get_task",
    "list_tasks",
    "option_names",
    "paired",
    "register",
    "task_options",
    "unregister",
]
