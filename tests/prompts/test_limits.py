"""What a file may ask for has limits, which are looked at before anything is made."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from discogp.errors import TaskError
from discogp.prompts.prepare import MOST_PROMPTS, prepare, restore
from discogp.tasks import SplitSizes, get_task


class _Model:
    """As much of one as is looked at before prompts are made."""

    name, tokenizer, bos_id = "a model", object(), None


def test_too_many_prompts_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    task = get_task("ioi")
    monkeypatch.setattr(type(task), "splits", None)
    monkeypatch.setattr(importlib.import_module("discogp.prompts.prepare"), "reading_of", lambda *_: None)
    model: Any = _Model()
    for sizes in ({"train": 100_000}, {"test": MOST_PROMPTS + 1}, {"validation": 10**300}):
        with pytest.raises(TaskError, match=r"a split of [\d,]+ prompts was asked for; at most 50,000"):
            prepare(model, task, SplitSizes(**sizes))
        with pytest.raises(TaskError, match="at most 50,000"):
            restore(model, {"task": "ioi", "split_sizes": sizes})
