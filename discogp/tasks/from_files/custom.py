"""A task of the user's own: a table of prompts with right and wrong answers, in a form of `forms`.

Columns `prompt` (or a chat, `messages`), `correct`, `wrong`; and, if wanted, `counterfactual` (a prompt of as many
tokens whose answer differs, for resample ablation), `group` (prompts of one group stay in one split) and `exact`
(nothing is added or moved). Several answers are separated by | in CSV and a list in JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from discogp.errors import TaskError
from discogp.paths import user_path
from discogp.tasks.base import Example, Splits, SplitSizes, check_option, register
from discogp.tasks.from_files.forms.reading import WHAT, read_rows
from discogp.tasks.from_files.lines import Problems
from discogp.tasks.from_files.pool import Pool, split_pool
from discogp.tasks.from_files.rows import REPEATED, example_of
from discogp.terms import Answers, Bos


@register("custom")
@dataclass(frozen=True)
class CustomTask:
    """Prompts from a file. `exact`: no row has a space added or moved. `bos`: the opening token; None: the model's
    usual. `answers`: whole, or dropped where they are several tokens."""

    file: str | Path | None = None
    exact: bool = False
    bos: Bos | None = None
    answers: Answers = "whole"
    title = "Prompts of your own"
    source = "A file of yours"
    description = (
        "A CSV or JSON file with the columns prompt (or messages), correct and wrong; if wanted, counterfactual, group "
        "and exact as well."
    )

    def __post_init__(self) -> None:
        if not isinstance(self.exact, bool):
            raise TaskError(f"the option 'exact' of the task 'custom' is {self.exact!r}; allowed: true, false")
        check_option("custom", "answers", self.answers, Answers)
        if self.bos is not None:
            check_option("custom", "bos", self.bos, Bos)

    @property
    def name(self) -> str:
        return "custom"

    def pool(self) -> Pool:
        """See `PooledTask.pool`. TaskError lists up to ten lines that cannot be read."""
        if self.file is None:
            raise TaskError("the task 'custom' needs a file of prompts; give one with --task-file")
        path = user_path(self.file, TaskError)
        return _read(path, path.stat().st_mtime_ns if path.is_file() else 0, self.exact)

    def split(self, examples: Sequence[Example], sizes: SplitSizes, seed: int) -> Splits:
        """See `PooledTask.split`."""
        name = f"custom ({Path(self.file or '').name})"
        prompts = (lambda e: e.prompt, "No prompt is in more than one split.")
        if any(example.group for example in examples):
            groups = (lambda e: (bool(e.group), e.group or e.prompt), "No group of prompts is in more than one split.")
            return split_pool(name, examples, (groups,), sizes, seed)
        return split_pool(name, examples, (prompts,), sizes, seed)

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`."""
        return self.split(self.pool().examples, sizes, seed)


# A page draws often, and a check reads twice: the last files are kept while they are unchanged.
@lru_cache(maxsize=2)
def _read(path: Path, changed: int, exact: bool) -> Pool:
    problems = Problems(path, WHAT)
    read = read_rows(path, problems)
    examples: dict[str, Example] = {}
    changes: Counter[str] = Counter()
    for row in read.rows:
        made = example_of(row, exact, problems)
        if made is None:
            continue
        example, change = made
        if example.prompt in examples:
            problems.add(row[0], f"the prompt of {examples[example.prompt].where} again", REPEATED)
            continue
        examples[example.prompt] = example
        changes.update([change] if change else [])
    problems.refuse_if_empty(len(examples))
    found = tuple(examples.values())
    notes = () if read.taken is None else (read.taken,)
    notes += tuple(
        f"{what} in {count} of {len(found)} rows; what must stay as it is can be marked exact"
        for what, count in changes.items()
    )
    without = sum(example.counterfactual is None for example in found)
    if 0 < without < len(found):
        notes += (f"{without} of {len(found)} prompts have no counterfactual, so there is no resample ablation",)
    return Pool(found, dict(problems.dropped), (*notes, *problems.notes()), files=(path,))
