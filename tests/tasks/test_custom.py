"""Task files: what is read, what is mended, what is dropped with a count, and what is refused with line and column."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from discogp.errors import TaskError
from discogp.paths import assets
from discogp.tasks import Pool, SplitSizes, encode, get_task
from discogp.tasks.encoding import NAMED
from discogp.tasks.from_files.lines import UNREADABLE
from discogp.tasks.from_files.rows import CONTRADICTION, REPEATED
from tests.tasks.words import word_tokenizer


def pool(folder: Path, text: str | bytes, name: str = "mine.csv") -> Pool:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return get_task("custom", file=path).pool()  # type: ignore[attr-defined]


def test_csv_with_several_answers_quotes_and_spaces(tmp_path: Path) -> None:
    found = pool(
        tmp_path,
        "\ufeffprompt,wrong,Correct,group,comment\r\n"
        '"Mary, who said ""no"", saw",Ann,John| Tom,one,x\r\n'
        "The year 17,10,34|35,,\r\n"
        "The cat ,dogs,sat,,\r\n"
        "\r\n"
        '"over two\nlines",b,a,,\r\n',
    )
    assert [(e.prompt, e.correct, e.wrong, e.group) for e in found.examples] == [
        ('Mary, who said "no", saw', (" John", " Tom"), (" Ann",), "one"),
        ("The year 17", ("34", "35"), ("10",), ""),
        ("The cat", (" sat",), (" dogs",), ""),
        ("over two\nlines", (" a",), (" b",), ""),
    ]
    assert not found.dropped


def test_json_lines(tmp_path: Path) -> None:
    rows = [
        {"prompt": "A b", "correct": ["c", " d"], "wrong": "e", "counterfactual": "B a", "group": 3},
        {"prompt": "C d", "correct": "c", "wrong": ["e"]},
    ]
    found = pool(tmp_path, "\n".join(map(json.dumps, rows)), "mine.jsonl")
    first, second = found.examples
    assert (first.correct, first.counterfactual, first.group) == ((" c", " d"), "B a", "3")
    assert second.counterfactual is None
    assert found.notes == (
        "a space was added before the answers in 2 of 2 rows; what must stay as it is can be marked exact",
        "1 of 2 prompts have no counterfactual, so there is no resample ablation",
    )


def test_repeats_and_contradictions_are_dropped_with_a_count(tmp_path: Path) -> None:
    found = pool(tmp_path, "prompt,correct,wrong\nA b,c,d\nA b,d,c\nC d,x|y,y\n")
    assert len(found.examples) == 1
    assert found.dropped == {REPEATED: 1, CONTRADICTION: 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt,correct,wrong\nA b,,d\n", r"line 2: column 'correct': one answer or several needed, it is empty"),
        ("prompt,correct,wrong\n ,c,d\n", r"line 2: column 'prompt': a text needed, it is empty"),
        (
            "prompt,correct,wrong\nA b,c||e,d\n",
            r"line 2: column 'correct': one answer or several needed, got \['c', '', 'e'\]",
        ),
        ("prompt,correct,wrong\nA, b,c,d\n", r"line 2: 4 columns, the header has 3; put texts with commas"),
        ('prompt,correct,wrong\n"A b,c,d\n', r"line 2: not CSV"),
        ('prompt,correct,wrong\n"x\ny",,e\nC d,,e\n', r"line 2: column 'correct'.*\nline 4: column 'correct'"),
        ("prompt,correct\nA b,c\n", r"line 1: no column wrong; the first line must name .*'prompt,correct'"),
        ("prompt,prompt,correct,wrong\nA b,A,c,d\n", r"the column prompt is there twice"),
        ("prompt,correct,wrong\n", r"has no prompt in it"),
        ("", "is empty"),
        (b"prompt,correct,wrong\nRen\xe9,c,d\n", r"line 2: not UTF-8 .* at byte 4"),
        (b"prompt,correct,wrong\nA\0b,c,d\n", r"line 2: a NUL byte at byte 2"),
        ("\ufeffprompt".encode("utf-16"), r"is UTF-16; save it as UTF-8"),
        (
            b"prompt,correct,wrong\n" + b"x" * 300_000 + b",c,d\n",
            r"line 2: 300,004 bytes long; a line may have at most",
        ),
    ],
)
def test_what_cannot_be_read_is_named_by_line_and_column(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        pool(tmp_path, text)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": 5, "correct": "c", "wrong": "d"}, r"line 1: column 'prompt': a text needed, got 5"),
        (
            {"prompt": "A", "correct": [1], "wrong": "d"},
            r"line 1: column 'correct': one answer or several needed, got \[1\]",
        ),
        ({"prompt": "A", "correct": "c"}, r"line 1: no column wrong"),
        ({"prompt": "A", "correct": "c", "wrong": "d", "group": []}, r"line 1: column 'group': a text is needed"),
        ({"prompt": "A", "correct": "c", "wrong": "d", "counterfactual": 1}, r"line 1: column 'counterfactual'"),
    ],
)
def test_wrong_types_in_json_lines(tmp_path: Path, row: dict[str, object], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        pool(tmp_path, json.dumps(row), "mine.jsonl")


def test_one_bad_row_is_one_row_less_and_named(tmp_path: Path) -> None:
    bad = [b"A,b,c,d", b"Ren\xe9,c,d", b"E f,,d", b'"G "h,c,d'] * 2
    found = pool(tmp_path, b"\n".join([b"prompt,correct,wrong", b"A b,c,d", *bad, b"C d,c,d"]))
    assert [e.prompt for e in found.examples] == ["A b", "C d"]
    assert found.dropped == {UNREADABLE: len(bad)}
    named = [note for note in found.notes if "the row is left out" in note]
    assert [re.search(r"line (\d+)", note)[1] for note in named] == ["3", "4", "5", "6", "7"]  # type: ignore[index]
    assert found.notes[-1] == "… and 3 more"


def test_ten_lines_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    with pytest.raises(TaskError) as error:
        pool(tmp_path, "prompt,correct,wrong\n" + "A b,,d\n" * 25)
    lines = str(error.value).splitlines()
    assert lines[1].startswith("line 2:")
    assert lines[10].startswith("line 11:")
    assert lines[11:] == ["… and 15 more"]


def test_groups_stay_in_one_split(tmp_path: Path) -> None:
    rows = "".join(f"Prompt number {i},a,b,g{i % 12}\n" for i in range(120))
    pool(tmp_path, "prompt,correct,wrong,group\n" + rows)
    splits = get_task("custom", file=tmp_path / "mine.csv").splits(SplitSizes(40, 20, 40), 0)
    groups = [{e.group for e in part} for part in (splits.train, splits.validation, splits.test)]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 12
    assert "group" in splits.held_out


def test_however_many_lines_there_are_the_tokenizer_is_called_a_few_times(tmp_path: Path) -> None:
    """One call of the tokenizer a text would make 100,000 lines take minutes."""
    rows = "".join(f"Number {i} saw the {i % 97} cats and the,dog,tree\n" for i in range(5000))
    found = pool(tmp_path, "prompt,correct,wrong\n" + rows)
    tokenizer = word_tokenizer(*(e.prompt + " dog tree" for e in found.examples[:97]))
    calls: list[int] = []

    class Counted:
        unk_token_id = tokenizer.unk_token_id

        def __call__(self, texts: list[str], **options: Any) -> Any:
            calls.append(len(texts))
            return tokenizer(texts, **options)

    encoded = encode(found.examples, Counted(), 0)
    assert len(encoded.prompts) + sum(encoded.dropped.values()) == 5000
    assert len(calls) <= 3 + NAMED
    assert sum(calls) > 5000


def test_no_file_and_a_missing_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="--task-file"):
        get_task("custom").splits(SplitSizes(), 0)
    with pytest.raises(TaskError, match="cannot read the task file"):
        get_task("custom", file=tmp_path / "absent.csv").splits(SplitSizes(), 0)


def test_the_example_file_is_a_task() -> None:
    task = get_task("custom", file=assets() / "tasks" / "example.csv")
    examples = task.pool().examples  # type: ignore[attr-defined]
    assert len(examples) == 40
    assert all(e.counterfactual and e.group for e in examples)
    assert len(task.splits(SplitSizes(), 0).test) >= 10


@pytest.mark.parametrize(
    ("prompt", "asked"), [("She said", " yes"), ('She said "', "yes"), ("and/", "yes"), ("(", "yes")]
)
def test_a_word_gets_a_space_unless_something_has_just_been_opened(tmp_path: Path, prompt: str, asked: str) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps({"prompt": prompt, "correct": "yes", "wrong": "no"}), encoding="utf-8")
    (example,) = get_task("custom", file=str(file)).pool().examples  # type: ignore[attr-defined]
    assert example.correct == (asked,)
