"""Tasks: prompts with right and wrong answers, counterfactuals, splits. A model is never imported here.

In: the name of a task and its options. Out: `Splits` of `Example`s, texts still; `encode` turns them into `Prompts`,
the token ids of one tokenizer. One file a task, in `generated/` or `from_files/`.
"""

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
from discogp.tasks.encoded import Prompts
from discogp.tasks.encoding import Encoded, encode
from discogp.tasks.fitting import fitted
from discogp.tasks.from_files.pool import Pool, PooledTask

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
