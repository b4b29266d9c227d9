"""BLiMP files: real sentences where the file is at hand, broken files always."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from discogp.errors import TaskError
from discogp.tasks import SplitSizes, get_task
from discogp.tasks.blimp import read_blimp

# The folder with BLiMP's .jsonl files; the data are not part of this repository, but may lie beside it.
BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data" / "blimp"
FOLDER = Path(os.environ.get("DISCOGP_BLIMP") or BESIDE)
REAL = FOLDER / "anaphor_number_agreement.jsonl"


def line(good: str, bad: str, **fields: object) -> str:
    return json.dumps({"sentence_good": good, "sentence_bad": bad, **fields})


def write(folder: Path, *lines: str) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def agreement_file(folder: Path, n: int = 60) -> Path:
    lines = []
    for i in range(n):
        lines.append(line(f"Girls number {i} verb{i % 20} themselves.", f"Girls number {i} verb{i % 20} herself."))
        lines.append(line(f"Mary number {i} verb{i % 20} herself.", f"Mary number {i} verb{i % 20} themselves."))
    return write(folder, *lines)


def test_prompt_is_the_common_prefix_and_repeats_are_left_out(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        line("Girls hurt themselves today.", "Girls hurt herself today."),
        "",
        line("Girls hurt themselves.", "Girls hurt himself."),
        line("Mary saw herself.", "Mary saw themselves.", one_prefix_method=True, one_prefix_prefix="Mary saw"),
    )
    first, second = read_blimp(path)
    assert (first.prompt, first.correct, first.wrong) == ("Girls hurt", (" themselves",), (" herself",))
    assert (second.prompt, second.correct, second.counterfactual) == ("Mary saw", (" herself",), None)


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes((line("Girls hurt themselves.", "Girls hurt herself.") + "\r\n").encode())
    assert read_blimp(path)[0].correct == (" themselves",)


def test_splits_share_no_prompt_and_no_last_word_and_are_balanced(tmp_path: Path) -> None:
    task = get_task("anaphor_number_agreement", path=agreement_file(tmp_path))
    sizes = SplitSizes(20, 10, 20)
    splits = task.splits(sizes, seed=0)
    assert task.splits(sizes, seed=0) == splits
    parts = [splits.train, splits.validation, splits.test]
    assert [len(part) for part in parts] == [20, 10, 20]
    endings = [{e.prompt.split()[-1] for e in part} for part in parts]
    assert len(set.union(*endings)) == sum(map(len, endings))
    for part in parts:
        assert sum(e.correct == (" themselves",) for e in part) * 2 == len(part)
    assert "pairs.jsonl" in task.source


def test_too_few_sentences_say_the_maximum(tmp_path: Path) -> None:
    task = get_task("anaphor_number_agreement", path=str(agreement_file(tmp_path)))
    with pytest.raises(TaskError, match=r"from pairs\.jsonl' can make at most \d+ train prompts, 500 were asked for"):
        task.splits(SplitSizes(500, 10, 10), seed=0)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"sentence_good": "a b."', r"line 2: not JSON"),
        ("[1, 2]", r"line 2: a JSON object is needed, got list"),
        ("null", r"line 2: a JSON object is needed, got NoneType"),
        ('{"sentence_good": "Mary saw herself."}', r"line 2: the field 'sentence_bad' must be a sentence, got None"),
        (line("Mary saw herself.", ""), r"line 2: the field 'sentence_bad' must be a sentence, got ''"),
        ('{"sentence_good": 3, "sentence_bad": "x"}', r"line 2: the field 'sentence_good' must be a sentence, got 3"),
        (line("Mary ran.", "John ran."), r"line 2: the sentences share no first word"),
        (line("Mary ran.", "Mary ran."), r"line 2: the sentences must part at a word"),
        (line("Mary ran home", "Mary ran"), r"line 2: the sentences must part at a word"),
        (line("Mary ran.", "Mary ran!"), r"line 2: the sentences part in punctuation only"),
        (
            line("Mary saw herself.", "Mary saw them.", one_prefix_method=True, one_prefix_prefix="Mary"),
            r"line 2: 'one_prefix_prefix' is 'Mary', but the sentences share 'Mary saw'",
        ),
        ("[" * 100_000, r"line 2: (JSON nested too deeply|not JSON)"),
    ],
)
def test_broken_lines_are_named_by_number(tmp_path: Path, bad: str, message: str) -> None:
    path = write(tmp_path, line("Mary saw herself.", "Mary saw themselves."), bad)
    with pytest.raises(TaskError, match=message):
        read_blimp(path)


def test_text_that_is_not_utf8_is_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(line("Mary saw herself.", "Mary saw themselves.").encode() + b'\n{"sentence_good": "Ren\xe9e"}')
    with pytest.raises(TaskError, match=r"latin\.jsonl, line 2: not UTF-8"):
        read_blimp(path)


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_an_empty_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    with pytest.raises(TaskError, match="has no sentence pair"):
        read_blimp(path)


def test_a_missing_file_or_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"cannot read the BLiMP file .*absent\.jsonl.*give the path"):
        get_task("anaphor_number_agreement", path=tmp_path / "absent.jsonl").splits(SplitSizes(), 0)
    with pytest.raises(TaskError, match="cannot read the BLiMP file"):
        read_blimp(tmp_path)


@pytest.mark.skipif(not REAL.is_file(), reason=f"BLiMP is not at hand: {REAL.name} in $DISCOGP_BLIMP")
def test_the_real_file_gives_the_default_sizes_for_any_seed() -> None:
    task = get_task("anaphor_number_agreement", path=REAL)
    for seed in range(10):
        splits = task.splits(SplitSizes(), seed)
        for part in (splits.train, splits.validation, splits.test):
            assert sum(e.correct == (" themselves",) for e in part) * 2 == len(part)


@pytest.mark.skipif(not REAL.is_file(), reason=f"BLiMP is not at hand: {REAL.name} in $DISCOGP_BLIMP")
def test_real_prompts_agree_with_the_prefix_field() -> None:
    rows = [json.loads(text) for text in REAL.read_text(encoding="utf-8").splitlines()]
    wanted = {row["one_prefix_prefix"] for row in rows}
    assert {example.prompt for example in read_blimp(REAL)} == wanted
