"""A form of task files: goes to `discogp/tasks/from_files/forms/`."""

from __future__ import annotations

from discogp.tasks.from_files.forms.base import Form, kept, register

register(
    "quiz",
    Form(
        "a quiz",
        ("question", "answer", "distractor"),
        "question → prompt, answer → correct, distractor → wrong",
        lambda row: kept(row, prompt=row["question"], correct=row["answer"], wrong=row["distractor"]),
    ),
)
