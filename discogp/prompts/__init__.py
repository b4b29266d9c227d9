"""From a task and a model to the prompts that are kept.

In: a `Task`, a model. Out: `TaskData`, three splits of encoded prompts that the model answers rightly, with what was
left out and why. `answers` asks the full model; `task_check` tells what it makes of a task before anything is searched.
"""
