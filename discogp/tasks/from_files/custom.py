"""A task of the user's own: a table of prompts with right and wrong answers, as CSV or JSON lines.

Columns `prompt`, `correct`, `wrong`; and, if wanted, `counterfactual` (a prompt of as many tokens whose answer differs,
for resample ablation) and `group` (prompts of one group stay in one split). Several answers are separated by | in CSV
and a list in JSON lines. Answers are the next word: the space in front of a word is added where it was left out.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from discogp.errors import TaskError
from discogp.paths import user_path
from discogp.tasks.base import Example, Splits, SplitSizes, register
from discogp.tasks.from_files.lines import Problems, json_objects, read_text_lines
from discogp.tasks.from_files.pool import Pool, split_pool

REQUIRED = ("prompt", "correct", "wrong")
OPTIONAL = ("counterfactual", "group")
REPEATED = "the prompt stands in an earlier line"
CONTRADICTION = "an answer is both correct and wrong"
_WHAT = "task file"
# After these, a word follows without a space.
_OPEN = "([{<\"'“‘-–—/_#@$"

Row = tuple[int, dict[str, Any]]


@register("custom")
@dataclass(frozen=True)
class CustomTask:
    """Prompts from a file, `.csv` or `.jsonl`."""

    file: str | Path | None = None
    title = "Prompts of your own"
    source = "A file of yours"
    description = (
        "A CSV or JSONL file with the columns prompt, correct and wrong; if wanted, counterfactual and group as well."
    )

    @property
    def name(self) -> str:
        return "custom"

    def pool(self) -> Pool:
        """See `PooledTask.pool`. TaskError lists up to ten lines that cannot be read."""
        if self.file is None:
            raise TaskError("the task 'custom' needs a file of prompts; give one with --task-file")
        path = user_path(self.file, TaskError)
        return _read(path, path.stat().st_mtime_ns if path.is_file() else 0)

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


@lru_cache(maxsize=2)
def _read(path: Path, changed: int) -> Pool:
    problems = Problems(path, _WHAT)
    lines = read_text_lines(path, _WHAT, problems)
    is_json = path.suffix.lower() in (".jsonl", ".json", ".ndjson") or lines[0].lstrip().startswith("{")
    rows = _json_rows(lines, problems) if is_json else _csv_rows(lines, path, problems)
    examples: dict[str, Example] = {}
    dropped: Counter[str] = Counter()
    for row in rows:
        example = _example(row, problems, dropped)
        if example is not None:
            if example.prompt in examples:
                dropped[REPEATED] += 1
            else:
                examples[example.prompt] = example
    problems.raise_if_any()
    if not examples:
        raise TaskError(f"the {_WHAT} {path.name!r} has no prompt beneath its header; give one on each line")
    found = tuple(examples.values())
    without = sum(example.counterfactual is None for example in found)
    notes = ()
    if 0 < without < len(found):
        notes = (f"{without} of {len(found)} prompts have no counterfactual, so there is no resample ablation",)
    return Pool(found, dict(dropped), notes)


def _csv_rows(lines: list[str], path: Path, problems: Problems) -> Iterator[Row]:
    """(line, column: text) of each row. The numbers are those of the file, also where a field has line ends."""
    reader = csv.reader((f"{line}\n" for line in lines), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise TaskError(f"the {_WHAT} {path.name!r}, line 1: not CSV ({error})") from error
    if missing := [name for name in REQUIRED if name not in header]:
        hint = (
            "; separate the columns by commas"
            if len(header) == 1 and header[0].count(";") + header[0].count("\t")
            else ""
        )
        raise TaskError(
            f"the {_WHAT} {path.name!r}, line 1: no column {', '.join(missing)}; the first line must name the columns "
            f"{', '.join(REQUIRED)} and, if wanted, {', '.join(OPTIONAL)}; it is {','.join(header)!r:.120}{hint}"
        )
    if repeated := [name for name, count in Counter(header).items() if count > 1 and name in (*REQUIRED, *OPTIONAL)]:
        raise TaskError(f"the {_WHAT} {path.name!r}, line 1: the column {', '.join(repeated)} is there twice; keep one")
    while True:
        first = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.add(
                first, f"not CSV ({error}); a text with quotation marks must be in marks itself, doubled inside"
            )
            continue
        if not row or not "".join(row).strip():
            continue
        if len(row) != len(header):
            problems.add(
                first, f"{len(row)} columns, the header has {len(header)}; put texts with commas in quotation marks"
            )
            continue
        yield first, dict(zip(header, row, strict=True))


def _json_rows(lines: list[str], problems: Problems) -> Iterator[Row]:
    for number, row in json_objects(lines, problems):
        if missing := [name for name in REQUIRED if name not in row]:
            problems.add(number, f"no column {', '.join(missing)}")
        else:
            yield number, row


def _example(row: Row, problems: Problems, dropped: Counter[str]) -> Example | None:
    """None, with the reason told or counted, if the row cannot be an example."""
    number, cells = row
    prompt = _text(cells, "prompt", number, problems)
    correct, wrong = (_answers(cells, name, number, problems) for name in ("correct", "wrong"))
    other = _text(cells, "counterfactual", number, problems) if cells.get("counterfactual") else None
    group = cells.get("group")
    if group is not None and not isinstance(group, str | int):
        problems.add(number, f"column 'group': a text is needed, got {_shown(group)}")
        return None
    if prompt is None or correct is None or wrong is None or (cells.get("counterfactual") and other is None):
        return None
    correct, wrong = (tuple(_spaced(prompt, answer) for answer in answers) for answers in (correct, wrong))
    if set(correct) & set(wrong):
        dropped[CONTRADICTION] += 1
        return None
    name = "" if group is None else str(group).strip()
    return Example(prompt.rstrip(), other.rstrip() if other else None, correct, wrong, name)


def _text(cells: dict[str, Any], column: str, number: int, problems: Problems) -> str | None:
    value = cells[column]
    if isinstance(value, str) and value.strip():
        return value
    problems.add(number, f"column {column!r}: {_wanted('a text', value)}")
    return None


def _answers(cells: dict[str, Any], column: str, number: int, problems: Problems) -> tuple[str, ...] | None:
    value = cells[column]
    given: Iterable[Any] = value.split("|") if isinstance(value, str) else value if isinstance(value, list) else ()
    found = [answer for answer in given if isinstance(answer, str) and answer.strip()]
    if found and len(found) == len(cast("Sequence[Any]", given)):
        return tuple(dict.fromkeys(found))
    problems.add(number, f"column {column!r}: {_wanted('one answer or several', value)}")
    return None


def _wanted(what: str, value: object) -> str:
    return f"{what} needed, " + (
        "it is empty" if isinstance(value, str) and not value.strip() else f"got {_shown(value)}"
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _spaced(prompt: str, answer: str) -> str:
    """The answer with the space that parts it from the prompt: the prompt's own, or one that was left out."""
    if prompt[-1:].isspace():
        return f" {answer.lstrip()}"
    return f" {answer}" if answer[0].isalpha() and prompt[-1] not in _OPEN else answer
