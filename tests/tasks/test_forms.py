"""Files of prompts in other people's forms: what their rows become, and that damage is named and costs one row."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from discogp.errors import TaskError, brief
from discogp.tasks.from_files.forms.base import FORMS, column_name, listed
from discogp.tasks.from_files.forms.reading import WHAT, read_rows
from discogp.tasks.from_files.lines import MOST_BYTES, UNREADABLE, Problems
from discogp.tasks.token_id import TokenId

PARIS = {"prompt": "The capital of France is", "correct": "Paris", "wrong": "Rome"}
ROME = {"prompt": "The capital of Italy is", "correct": "Rome", "wrong": "Paris"}
OWN = [PARIS, ROME]
LONDON = "The capital of England is"
PAIR = {"prompt": PARIS["prompt"], "counterfactual": LONDON}
EXACT_PAIR = [{**PAIR, "correct": [" Paris"], "wrong": [" London", " Rome"], "exact": True}]
CIRCUIT_ROW = {
    "clean": PARIS["prompt"],
    "corrupt": LONDON,
    "answers": [" Paris"],
    "wrong_answers": [" London", " Rome"],
}
IDS = [{**PAIR, "correct": ["<token 6342>"], "wrong": ["<token 3576>"], "exact": True}]
YEARS = {
    "prompt": "The war lasted from the year 1797 to the year 17",
    "counterfactual": "The war lasted from the year 1701 to the year 17",
    "correct": ["98", "99"],
    "wrong": [f"{year:02d}" for year in range(98)],
    "exact": True,
}
EARLY = {
    "prompt": "It lasted from the year 1604 to the year 16",
    "counterfactual": "It lasted from the year 1601 to the year 16",
    "correct": [f"{year:02d}" for year in range(5, 100)],
    "wrong": ["00", "01", "02", "03", "04"],
    "exact": True,
}
IOI = {
    "prompt": "Then Mary and John went to the store. John gave a ring to",
    "template": "…",
    "metadata": {"indirect_object": "Mary", "subject": "John", "object": "ring"},
    "choices": ["Mary", "John"],
    "answerKey": 0,
    "abc_counterfactual": {"prompt": "Then Ann and Bob …", "choices": ["Eve", "Bob"], "answerKey": 0},
    "s2_io_flip_counterfactual": {"prompt": "Then … Mary gave a ring to", "choices": ["Mary", "John"], "answerKey": 1},
}
MCQA = {
    "prompt": "A banana is yellow. What color is a banana?\nA. red\nB. yellow\nAnswer:",
    "choices": {"label": ["A", "B"], "text": ["red", "yellow"]},
    "answerKey": 1,
    "noun_counterfactual": {"prompt": "A lemon …", "choices": {"label": ["A", "B"]}, "answerKey": 1},
    "symbol_counterfactual": {
        "prompt": "A banana …\nK. red\nQ. yellow",
        "choices": {"label": ["K", "Q"]},
        "answerKey": 1,
    },
}
ADDITION = {
    "idx": 0,
    "prompt": "The sum of 12 and 30 is ",
    "label": "42",
    "operator": "+",
    "random_counterfactual": {"prompt": "The sum of 10 and 10 is ", "label": 20},
    "ones_op1_counterfactual": {"prompt": "The sum of 13 and 30 is ", "label": 43},
}


@dataclass(frozen=True)
class Case:
    """A file and what its rows are; `taken`: part of what is said of it, None if nothing is."""

    name: str
    text: str
    rows: list[dict[str, Any]]
    taken: str | None = None


def columns_of(rows: list[dict[str, Any]], by: Callable[[dict[str, Any]], Any] = lambda column: column) -> str:
    return json.dumps({name: by({str(i): row[name] for i, row in enumerate(rows)}) for name in rows[0]})


def separated(mark: str) -> str:
    return "\n".join([mark.join(PARIS), *(mark.join(row.values()) for row in OWN)])


SPLIT = json.dumps({"columns": list(PARIS), "index": [0, 1], "data": [list(row.values()) for row in OWN]})
CASES = {
    "csv": Case("a.csv", separated(","), OWN),
    "csv, whatever its name": Case("a", separated(","), OWN),
    "csv, header in other letters": Case("a.csv", separated(",").replace("prompt,", ' "Prompt" ,', 1), OWN),
    "csv, quotes and Windows": Case(
        "a.csv",
        '\ufeff"prompt","correct","wrong"\r\n"a ""b"", c","d","e"\r\n',
        [{"prompt": 'a "b", c', "correct": "d", "wrong": "e"}],
    ),
    "csv, an index without a name": Case(
        "a.csv", ",prompt,correct,wrong\n7,a b,c,d\n", [{"prompt": "a b", "correct": "c", "wrong": "d"}]
    ),
    "csv, a field over two lines": Case(
        "a.csv", 'prompt,correct,wrong\n"a\n\tb",c,d\n', [{"prompt": "a\n\tb", "correct": "c", "wrong": "d"}]
    ),
    "csv, old line ends": Case("a.csv", separated(",").replace("\n", "\r"), OWN),
    "csv, several answers": Case(
        "a.csv", "prompt,correct,wrong\na b,c| d,e\n", [{"prompt": "a b", "correct": ["c", " d"], "wrong": ["e"]}]
    ),
    "semicolons": Case("a.csv", separated(";"), OWN, "semicolons"),
    "semicolons, said by Excel": Case("a.csv", "sep=;\n" + separated(";"), OWN, "semicolons"),
    "tabs": Case("a.tsv", separated("\t"), OWN, "tabs"),
    "tabs in a .csv": Case("a.csv", separated("\t"), OWN, "tabs"),
    "commas in a .tsv": Case("a.tsv", separated(","), OWN),
    "lines": Case("a.jsonl", "\n\n".join(map(json.dumps, OWN)) + "\n", OWN),
    "lines in a .json": Case("a.json", "\n".join(map(json.dumps, OWN)), OWN),
    "one line": Case("a.ndjson", json.dumps(PARIS), [PARIS]),
    "a row over many lines": Case("a.json", json.dumps(PARIS, indent=4), [PARIS]),
    "list": Case("a.json", json.dumps(OWN), OWN),
    "list, indented": Case("a.json", json.dumps(OWN, indent=2), OWN),
    "list in a .jsonl": Case("a.jsonl", json.dumps(OWN), OWN),
    "list in a .csv": Case("a.csv", json.dumps(OWN), OWN),
    "list, keys in other letters": Case("a.json", json.dumps([{k.upper(): v for k, v in PARIS.items()}]), [PARIS]),
    "list under prompts": Case("a.json", json.dumps({"about": 1, "prompts": OWN, "notes": [1]}), OWN),
    "list under a key": Case("a.json", json.dumps({"meta": {"x": [1]}, "items": OWN}), OWN, "the rows under 'items'"),
    "hub viewer": Case(
        "a.json",
        json.dumps({"features": [{"name": "prompt"}], "rows": [{"row_idx": 0, "row": PARIS}]}),
        [PARIS],
        "rows",
    ),
    "pandas split": Case("a.json", SPLIT, OWN, "pandas' table (orient split)"),
    "pandas records": Case("a.json", json.dumps(OWN), OWN),
    "pandas columns": Case("a.json", columns_of(OWN), OWN, "pandas' table (orient columns)"),
    "pandas index": Case("a.json", json.dumps({"0": PARIS, "7": ROME}), OWN, "pandas' table (orient index)"),
    "pandas list": Case(
        "a.json", columns_of(OWN, lambda column: list(column.values())), OWN, "pandas' table (orient list)"
    ),
    "pandas table": Case(
        "a.json", json.dumps({"schema": {"fields": [{"name": "prompt"}]}, "data": OWN}), OWN, "'data'"
    ),
    "chat": Case(
        "a.jsonl",
        json.dumps({"messages": [{"role": "user", "content": "Hi"}], "correct": "a", "wrong": "b"}),
        [{"messages": [{"role": "user", "content": "Hi"}], "correct": "a", "wrong": "b"}],
    ),
    "own, exact": Case(
        "a.csv",
        "prompt,correct,wrong,exact\na ,b,c,yes\n",
        [{"prompt": "a ", "correct": "b", "wrong": "c", "exact": "yes"}],
    ),
    "own beside another": Case("a.json", json.dumps([PARIS | CIRCUIT_ROW]), [PARIS | CIRCUIT_ROW], "are passed over"),
    "EAP-IG": Case(
        "a.csv",
        f",clean,corrupted,corrupted_hard,correct_idx,incorrect_idx\n3,{PARIS['prompt']},{LONDON},x,6342,3576\n",
        IDS,
        "EAP-IG: clean → prompt, corrupted → counterfactual, correct_idx and incorrect_idx → answers",
    ),
    "EAP-IG, several": Case(
        "a.csv",
        f'clean,corrupted,correct_idx,incorrect_idx\n{PARIS["prompt"]},{LONDON},6342.0,"[3576, 5]"\n',
        [IDS[0] | {"wrong": ["<token 3576>", "<token 5>"]}],
        "token ids",
    ),
    "EAP-IG, JSON": Case(
        "a.json",
        json.dumps([{"clean": PARIS["prompt"], "corrupted": LONDON, "correct_idx": 6342, "incorrect_idx": [3576]}]),
        IDS,
        "EAP-IG",
    ),
    "EAP-IG, a pair as label": Case(
        "a.json",
        json.dumps([{"clean": PARIS["prompt"], "corrupted": LONDON, "label": [6342, 3576]}]),
        IDS,
        "EAP-IG with labels",
    ),
    "EAP-IG, words": Case(
        "a.csv",
        f"clean,corrupted,correct,incorrect\n{PARIS['prompt']},{LONDON},Paris,\"['London', 'Rome']\"\n",
        [{**PAIR, "correct": ["Paris"], "wrong": ["London", "Rome"]}],
        "EAP-IG with words",
    ),
    "greater-than": Case(
        "a.csv",
        f"clean,corrupted,label\n{YEARS['prompt']},{YEARS['counterfactual']},97\n{EARLY['prompt']},{EARLY['counterfactual']},4\n",
        [YEARS, EARLY],
        "later years",
    ),
    "greater-than, year": Case(
        "a.jsonl",
        json.dumps({"clean": YEARS["prompt"], "corrupted": YEARS["counterfactual"], "year": "1797"}),
        [YEARS],
        "later years",
    ),
    "greater-than, correct_idx": Case(
        "a.csv",
        f"clean,corrupted,correct_idx\n{YEARS['prompt']},{YEARS['counterfactual']},97\n",
        [YEARS],
        "later years",
    ),
    "auto-circuit": Case(
        "a.json",
        json.dumps({"seq_labels": ["The"], "word_idxs": {"x": 3}, "prompts": [CIRCUIT_ROW]}, indent=2),
        EXACT_PAIR,
        "auto-circuit: clean → prompt",
    ),
    "auto-circuit, lines": Case("a.jsonl", json.dumps(CIRCUIT_ROW), EXACT_PAIR, "auto-circuit"),
    "MIB IOI": Case(
        "a.jsonl",
        json.dumps(IOI),
        [
            {
                "prompt": IOI["prompt"],
                "counterfactual": "Then … Mary gave a ring to",
                "correct": ["Mary"],
                "wrong": ["John"],
            }
        ],
        "MIB with choices",
    ),
    "MIB MCQA": Case(
        "a.jsonl",
        json.dumps(MCQA),
        [
            {
                "prompt": MCQA["prompt"],
                "counterfactual": "A banana …\nK. red\nQ. yellow",
                "correct": ["B"],
                "wrong": ["A", "Q"],
            }
        ],
        "MIB with choices",
    ),
    "MIB, no pair": Case(
        "a.jsonl",
        json.dumps({k: v for k, v in MCQA.items() if "counter" not in k}),
        [{"prompt": MCQA["prompt"], "correct": ["B"], "wrong": ["A"]}],
        "MIB with choices",
    ),
    "MIB arithmetic": Case(
        "a.jsonl",
        json.dumps(ADDITION),
        [
            {
                "prompt": ADDITION["prompt"],
                "counterfactual": "The sum of 10 and 10 is ",
                "correct": ["42"],
                "wrong": ["20"],
            }
        ],
        "MIB arithmetic",
    ),
}


def read(
    folder: Path, name: str, content: str | bytes
) -> tuple[list[tuple[int, dict[str, Any]]], str | None, Problems]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    problems = Problems(path, WHAT)
    rows = read_rows(path, problems)
    return list(rows.rows), rows.taken, problems


def listed_answers(rows: Iterable[tuple[int, dict[str, Any]]]) -> list[dict[str, Any]]:
    """One answer is a list of one, as cells of CSV are."""
    names = ("correct", "wrong")
    return [row | {n: [row[n]] for n in names if isinstance(row.get(n), str)} for _, row in rows]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_file_is_read_as_it_is(tmp_path: Path, case: Case) -> None:
    rows, taken, problems = read(tmp_path, case.name, case.text)
    assert listed_answers(rows) == listed_answers(enumerate(case.rows))
    assert not problems.dropped
    if case.taken is None:
        assert taken is None
    else:
        assert taken is not None
        assert case.taken in taken
        assert taken.count("\n") == 0


def test_every_form_has_a_case_and_says_what_became_of_its_columns() -> None:
    said = " ".join(case.taken or "" for case in CASES.values())
    for name in FORMS:
        form = FORMS[name]
        if name != "own":
            assert form.title in said, name
            assert form.taken.count("→") >= 2


def test_token_ids_are_texts_that_know_their_number(tmp_path: Path) -> None:
    ((_, row),) = read(tmp_path, CASES["EAP-IG"].name, CASES["EAP-IG"].text)[0]
    assert [answer.number for answer in row["correct"] + row["wrong"]] == [6342, 3576]
    assert json.dumps(TokenId(5)) == '"<token 5>"'
    for number in (-1, 10_000_001):
        with pytest.raises(ValueError, match="a token id is a whole number"):
            TokenId(number)


def test_parquet_is_read(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    stream = io.BytesIO()
    pandas.DataFrame([MCQA, MCQA | {"answerKey": 0}]).to_parquet(stream)
    rows, taken, problems = read(tmp_path, "a.parquet", stream.getvalue())
    assert [row["correct"] for _, row in rows] == [["B"], ["A"]]
    assert taken is not None
    assert not problems.dropped
    with pytest.raises(TaskError, match="cannot be read as parquet"):
        read(tmp_path, "b.parquet", stream.getvalue()[:-100])
    with pytest.raises(TaskError, match="cannot be read as parquet"):
        read(tmp_path, "c.parquet", b"no parquet at all")


BAD = '{"prompt": 5'
LINES = [json.dumps(PARIS), json.dumps(ROME)]


@pytest.mark.parametrize(
    ("name", "content", "line", "message"),
    [
        ("a.jsonl", "\n".join([LINES[0], BAD, LINES[1]]), 2, "not JSON"),
        ("a.jsonl", "\n".join([BAD, *LINES]), 1, "not JSON"),
        ("a.jsonl", "\n".join([LINES[0], "[1, 2]", LINES[1]]), 2, "a JSON object is needed, got list"),
        ("a.jsonl", "\n".join([LINES[0], "[" * 90_000, LINES[1]]), 2, "nested too deeply"),
        ("a.jsonl", "\n".join([LINES[0], '{"prompt": "a", "correct": "b"}', LINES[1]]), 2, "no column wrong"),
        ("a.jsonl", "\n".join([LINES[0], '{"prompt": 1, "prompt": 2}', LINES[1]]), 2, "key 'prompt' is there twice"),
        ("a.jsonl", "\n".join([LINES[0], '{"prompt": "a", "Prompt ": "b"}', LINES[1]]), 2, "column 'prompt' is there"),
        ("a.jsonl", "\n".join([*LINES, "x" * 200_000]), 3, "200,000 bytes long"),
        ("a.jsonl", "\n".join(LINES).encode() + b"\n{\xff}", 3, "not UTF-8"),
        ("a.jsonl", "\n".join(LINES).encode() + b"\n{\0}", 3, "a NUL byte"),
        ("a.json", json.dumps([PARIS, 7, ROME], indent=1), 7, "a JSON object is needed, got 7"),
        ("a.json", json.dumps([PARIS, None, ROME]), 1, "a JSON object is needed, got None"),
        ("a.json", json.dumps([PARIS, PARIS | {"prompt": "x" * 200_000}, ROME]), 1, "200,000 letters"),
        ("a.json", json.dumps([PARIS, PARIS | {"correct": [["x"]]}, ROME]), 1, "column 'correct': a text needed"),
        (
            "a.json",
            json.dumps([PARIS, PARIS | {"prompt": {"a": 1}}, ROME]),
            1,
            "column 'prompt': a text needed, got {'a': 1}",
        ),
        ("a.json", json.dumps([PARIS, PARIS | {"prompt": "a \ud83d"}, ROME]), 1, "half a letter ('\\ud83d' without"),
        ("a.json", json.dumps([PARIS, PARIS | {"wrong": ["\udc00"]}, ROME]), 1, "column 'wrong': half a letter"),
        ("a.csv", separated(",") + "\na,b\n", 4, "2 columns, the header has 3"),
        ("a.csv", separated(";") + "\na;b;c;d\n", 4, "4 columns, the header has 3; put texts with semicolons"),
        ("a.csv", separated(",").replace("\n", '\n"x" y,b,c\n', 1), 2, "not CSV"),
        ("a.csv", separated(",").replace("\n", '\n"x,b,c\n', 1), 2, "not CSV"),
        ("a.csv", separated(",").encode() + b'\n"a\n\xff\nb",c,d', 5, "not UTF-8"),
        ("a.json", SPLIT.replace('"Rome"]', '"Rome", 1]', 1), 1, "3 cells needed, as there are columns, got"),
    ],
)
def test_a_bad_row_is_one_row_less(tmp_path: Path, name: str, content: str | bytes, line: int, message: str) -> None:
    rows, _, problems = read(tmp_path, name, content)
    assert listed_answers(rows) in [listed_answers(enumerate(kept)) for kept in (OWN, OWN[1:])]
    assert problems.dropped == {UNREADABLE: 1}
    (note,) = problems.notes()
    assert f", line {line}: " in note
    assert message in note


FOREIGN = {"EAP-IG": ["clean", "corrupted", "correct_idx", "incorrect_idx"], "label": ["clean", "corrupted", "label"]}


@pytest.mark.parametrize(
    ("columns", "cells", "message"),
    [
        ("EAP-IG", ["a", "b", "x", "2"], "column 'correct_idx': a token id is a whole number .* got 'x'"),
        ("EAP-IG", ["a", "b", "1", "-2"], "column 'incorrect_idx'.* got '-2'"),
        ("EAP-IG", ["a", "b", True, 1], "column 'correct_idx'.* got True"),
        ("EAP-IG", ["a", "b", 1.5, 1], "column 'correct_idx'.* got 1.5"),
        ("EAP-IG", ["a", "b", 99_999_999, 1], "at most 10,000,000; got 99999999"),
        ("EAP-IG", ["a", "b", [], 1], "a token id or several needed, got \\[\\]"),
        ("label", ["The year 1352 to 13", "b", 53], "names the year …53 and ends in its century"),
        ("label", ["The year 1352 to", "b", 52], "names the year …52 and ends in its century"),
        ("label", ["The year 1399 to 13", "b", 99], "no year of two digits is later than 99"),
        ("label", ["The year 1352 to 13", "b", "x"], "the last two digits of a year needed, got 'x'"),
        ("label", ["The year 1352 to 13", "b", [1, 2, 3]], "a year, or the ids of the right and the wrong token"),
    ],
)
def test_rows_of_others_that_cannot_be_meant_so_say_why(
    tmp_path: Path, columns: str, cells: list[Any], message: str
) -> None:
    row = dict(zip(FOREIGN[columns], cells, strict=True))
    rows, _, problems = read(tmp_path, "a.json", json.dumps([row]))
    assert not rows
    with pytest.raises(TaskError, match=f"line 1: .*{message}"):
        problems.refuse_if_empty(0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (CIRCUIT_ROW | {"clean": [3, 0, 1]}, "the prompt is a list of numbers"),
        (MCQA | {"answerKey": 2}, "the place of a choice, 0 to 1, needed, got 2"),
        (MCQA | {"answerKey": True}, "the place of a choice, 0 to 1, needed, got True"),
        (MCQA | {"answerKey": "Z"}, "the place of a choice, 0 to 1, needed, got 'Z'"),
        (MCQA | {"choices": {"text": ["a"]}}, "an object with a list 'label', needed, got {'text'"),
        (MCQA | {"choices": []}, "a list, or an object with a list 'label', needed, got \\[\\]"),
        (MCQA | {"choices": [["a"], "b"]}, "column 'choices': a text or a whole number needed"),
        (ADDITION | {"label": None}, "column 'label': a text or a whole number needed, got None"),
        (
            {k: v for k, v in ADDITION.items() if "ones" not in k}
            | {"random_counterfactual": {"prompt": "x", "label": 42}},
            "no wrong answer",
        ),
        (ADDITION | {"random_counterfactual": None, "ones_op1_counterfactual": 3}, "no wrong answer"),
    ],
)
def test_rows_of_auto_circuit_and_mib_that_cannot_be_asked_say_why(tmp_path: Path, row: Any, message: str) -> None:
    rows, _, problems = read(tmp_path, "a.json", json.dumps([row]))
    assert not rows
    with pytest.raises(TaskError, match=message):
        problems.refuse_if_empty(0)


def deep(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.json", b" \n\t", "is empty"),
        ("a.json", "\ufeff[]", "has no prompt in it"),
        ("a.json", "{}", r"no column prompt, correct, wrong"),
        ("a.json", "7", "is one JSON value, 7; give a list"),
        ("a.json", '"text"', "is one JSON value, 'text'"),
        ("a.json", "[1, 2", r"line 1: not JSON \(',' or '\]' expected at column 6\)"),
        ("a.json", json.dumps(OWN, indent=1)[:-9], r"line \d+: not JSON"),
        ("a.json", '[{"prompt": "a",}]', r"line 1: not JSON \("),
        ("a.json", '{"prompts": [{"a": 1},]}', r"line 1: not JSON \("),
        ("a.json", '{"prompts" [1]}', r"line 1: not JSON \(':' expected"),
        ("a.json", "{prompts: [1]}", r"line 1: not JSON \('\"' expected"),
        ("a.json", "[1] [2]", "several JSON values"),
        ("a.json", '{"prompts": [], "prompts": []}', "line 1: the key 'prompts' is there twice"),
        ("a.json", '{"a": 1, "b": {"c": 2}}', "a JSON object with the keys a, b and no list of rows; wanted"),
        ("a.json", '{"a\\n\\ud800": [{}], "b": [{}]}', r"several lists of rows \('a\\n\\ud800, b'\)"),
        ("a.json", json.dumps({"train": OWN, "test": OWN}), r"several lists of rows \(train, test\)"),
        ("a.json", "[[1, 2], [3, 4]]", "a list of lists, whose columns have no names"),
        ("a.json", json.dumps({"columns": [1, 2], "data": [[1, 2]]}), "the column names must be texts, got"),
        ("a.json", '{"prompt": ["a"], "correct": ["b", "c"], "wrong": ["d"]}', "columns have not the same rows"),
        ("a.json", deep(100_000), "nested too deeply"),
        ("a.json", '{"a":' * 100_000, "nested too deeply"),
        ("a.jsonl", deep(50_000), "nested too deeply"),
        ("a.json", b"[\xff]", "line 1: not UTF-8"),
        ("a.json", b'[\n{"prompt": "\0"}]', "line 2: a NUL byte"),
        ("a.csv", "\ufeffprompt".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("a.csv", b"\xffprompt,correct,wrong\n", "line 1: not UTF-8"),
        ("a.csv", b"\x1f\x8b\x08\0", "packed \\(gzip\\)"),
        ("a.csv", b"PK\x03\x04\0", "a zip archive or a spreadsheet, not text"),
        ("a.csv", '"prompt,correct,wrong\na,b,c\n', "line 1: not CSV"),
        ("a.csv", "x" * 200_000, "line 1: 200,000 bytes long"),
        ("a.csv", "sep=;\n", "has no header"),
        ("a.csv", "Prompt, prompt ,correct,wrong\na,b,c,d\n", "the column prompt is there twice"),
        ("a.csv", "prompt,correct\na,b\n", "line 1: no column wrong; the first line must name .*'prompt,correct'"),
        ("a.csv", "clean,corrupted,correct_idx\n", "has no prompt in it"),
        ("a.csv", "clean,corrupted\na,b\n", "no column .*most like EAP-IG"),
        (
            "a.csv",
            "clean,corrupt,answers\na,b,c\n",
            r"no column wrong_answers \(it looks most like auto-circuit's form",
        ),
        ("a.json", json.dumps([{"clean": "a", "corrupt": "b"}]), "line 1: no column"),
        (
            "a.json",
            json.dumps([CIRCUIT_ROW | {"correct": "x", "incorrect": "y"}]),
            "the columns fit auto-circuit .* and EAP-IG with",
        ),
        (
            "a.json",
            json.dumps({"prompt_templates": ["{} is"], "samples": [{"subject": "a", "object": "b"}]}),
            "--task lre/",
        ),
        ("a.jsonl", '{"sentence_good": "a b", "sentence_bad": "a c"}', "--task blimp/"),
        ("a.jsonl", '{"sub_label": "a", "obj_label": "c"}', "--task pararel/"),
        (
            "a.json",
            json.dumps({"Aarau": {"Country": "Switzerland"}, "Abha": {"Country": "Saudi Arabia"}}),
            "row 1: no column prompt",
        ),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(TaskError, match=message) as error:
        read(tmp_path, name, content)
    assert len(str(error.value)) < 1200
    assert name in str(error.value)


def test_a_folder_a_device_and_a_path_that_is_none_are_no_files(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/zero"), tmp_path / "absent", Path("a\0b"), tmp_path / ("x" * 5000)):
        with pytest.raises(TaskError, match=r"^cannot read the task file '[^']*': [^;]*; give the path of a file$"):
            read_rows(path, Problems(path, WHAT))


HUGE = 2_000_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("doubled.json", "[{" + ",".join(f'"k{i % 9}": {i}' for i in range(HUGE // 12)) + "}]"),
        ("doubled.jsonl", "{" + '"prompt": 1,' * 8000 + '"prompt": 2}\n' * 20),
        ("keys.json", "{" + ",".join(f'"k{i}": {i}' for i in range(HUGE // 14)) + "}"),
        ("digits.json", '[{"prompt": ' + "9" * HUGE + "}]"),
        ("digits.jsonl", '{"prompt": "a", "correct": "b", "wrong": ' + "9" * 5000 + "}"),
        ("float.json", '[{"prompt": 1e' + "9" * HUGE + "}]"),
        ("lists.json", "[" + ",".join(["[]"] * (HUGE // 3)) + "]"),
        ("open quotes.csv", "prompt,correct,wrong\n" + 'x","y\n' * (HUGE // 60)),
        ("one quote.csv", 'prompt,correct,wrong\n"' + "x\n" * (HUGE // 20)),
        ("commas.csv", "prompt,correct,wrong\n" + "," * 99_000 + "\n"),
        ("columns.csv", ",".join(f"c{i}" for i in range(12_000)) + "\n"),
        ("spaces.json", "[" + " \n" * (HUGE // 2) + "1]"),
        ("short.csv", "prompt,correct,wrong\n" + "a\n" * (HUGE // 8)),
        ("line.csv", "prompt,correct,wrong\n" + "x" * HUGE),
        ("escapes.json", '["' + "\\u0041" * (HUGE // 6) + '"]'),
    ],
)
def test_the_time_is_bounded_by_the_size(tmp_path: Path, name: str, content: str) -> None:
    began = time.process_time()
    said = ""
    try:
        _, _, problems = read(tmp_path, name, content)
        said = "".join(problems.notes())
    except TaskError as error:
        said = str(error)
    assert len(said) < 3000
    # A megabyte takes a few tenths of a second; whatever grows with the square would take minutes.
    assert time.process_time() - began < 8


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 10_000)
    with pytest.raises(
        TaskError, match=r"^the task file 'a\.csv' has 50\.0 MB; at most 50 are read; give a part of it$"
    ):
        read_rows(path, Problems(path, WHAT))


def test_the_small_words() -> None:
    assert [column_name(name) for name in (" Correct IDX ", "correct-idx", "Correct  idx")] == ["correct_idx"] * 3
    assert listed("[1, 'a']") == [1, "a"]
    assert listed("[1, 'a'") == ["[1, 'a'"]
    assert listed("a|b") == ["a|b"]
    assert listed(["a"]) == ["a"]
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    assert brief(nested) == "[[[...]]]"
    assert len(brief("x" * 100_000)) == 60
    assert brief({"a": 1}) == "{'a': 1}"
    assert brief(10**5000) == "a int" or len(brief(10**5000)) <= 60
