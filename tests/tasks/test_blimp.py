"""BLiMP: paradigms by name, files of its format, pairs cut where they part; real sentences where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from discogp.errors import TaskError
from discogp.tasks import Example, SplitSizes, encode, get_task, list_tasks
from discogp.tasks.from_files.blimp import IDENTICAL, PARADIGMS, read_blimp
from discogp.tasks.from_files.lines import UNREADABLE
from discogp.tasks.from_files.pool import split_pool
from tests.places import data_folder, needs
from tests.tasks.words import word_tokenizer

# The folder with BLiMP's .jsonl files; the data are not part of this repository, but may lie beside it.
FOLDER = data_folder("blimp")
REAL = sorted(FOLDER.glob("*.jsonl"))
needs_real = needs(FOLDER)


def line(good: str, bad: str, **fields: object) -> str:
    return json.dumps({"sentence_good": good, "sentence_bad": bad, **fields})


def write(folder: Path, *lines: str) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def agreement_lines(n: int = 60) -> list[str]:
    lines = []
    for i in range(n):
        lines.append(line(f"Girls number {i} verb{i % 20} themselves.", f"Girls number {i} verb{i % 20} herself."))
        lines.append(line(f"Mary number {i} verb{i % 20} herself.", f"Mary number {i} verb{i % 20} themselves."))
    return lines


def test_every_paradigm_is_a_task_and_says_what_it_is() -> None:
    tasks = {task.name: task for task in list_tasks() if task.name.startswith("blimp/")}
    assert len(tasks) == len(PARADIGMS) == 67
    assert sum(mark == "*" for _, mark in PARADIGMS.values()) == 20
    assert all(task.title and task.description and task.source for task in tasks.values())


def test_prompt_is_the_common_prefix(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        line("Girls hurt themselves today.", "Girls hurt herself today."),
        "",
        line("Mary saw herself.", "Mary saw themselves."),
        line("Ran Mary?", "Runs Mary?"),
    )
    first, second, third = read_blimp(path)
    assert (first.prompt, first.correct, first.wrong) == ("Girls hurt", (" themselves",), (" herself",))
    assert (second.prompt, second.correct, second.counterfactual) == ("Mary saw", (" herself",), None)
    assert third.prompt == ""


def test_pairs_that_are_no_pairs_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path, line("Mary ran.", "Mary ran."), *agreement_lines(3))
    pool = get_task("blimp/wh_island", data=path).pool()  # type: ignore[attr-defined]
    assert len(pool.examples) == 6
    assert pool.dropped == {IDENTICAL: 1}


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes((line("Girls hurt themselves.", "Girls hurt herself.") + "\r\n").encode())
    assert read_blimp(path)[0].correct == (" themselves",)


@pytest.mark.parametrize("name", ["agreement/anaphor_number", "blimp/anaphor_number_agreement"])
def test_splits_share_no_prompt_and_no_last_word(tmp_path: Path, name: str) -> None:
    option = "path" if name.startswith("agreement") else "data"
    task = get_task(name, **{option: write(tmp_path, *agreement_lines())})
    sizes = SplitSizes(20, 10, 20)
    splits = task.splits(sizes, seed=0)
    assert task.splits(sizes, seed=0) == splits
    parts = [splits.train, splits.validation, splits.test]
    assert [len(part) for part in parts] == [20, 10, 20]
    endings = [{e.prompt.split()[-1] for e in part} for part in parts]
    assert len(set.union(*endings)) == sum(map(len, endings))


def test_too_few_sentences_make_smaller_splits_of_the_same_proportions(tmp_path: Path) -> None:
    splits = get_task("blimp/wh_island", data=write(tmp_path, *agreement_lines())).splits(SplitSizes(), seed=0)
    train, validation, test = map(len, (splits.train, splits.validation, splits.test))
    assert 100 <= train + validation + test <= 120
    assert abs(train - 2 * validation) <= 2 >= abs(train - test)


def test_one_prompt_cannot_be_split(tmp_path: Path) -> None:
    path = write(tmp_path, *(line(f"The hidden{i} x", f"The hid{i} x") for i in range(9)))
    with pytest.raises(TaskError, match=r"9 different items .* have 1 different prompt between them"):
        get_task("blimp/irregular_past_participle_adjectives", data=path).splits(SplitSizes(), 0)


@pytest.mark.parametrize("place", ["", "blimp", "data"])
def test_a_folder_is_looked_through(tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    write(folder, *agreement_lines()).rename(folder / "wh_island.jsonl")
    assert get_task("blimp/wh_island", data=tmp_path).splits(SplitSizes(8, 8, 8), 0).test
    with pytest.raises(TaskError, match=r"has no npi_present_1\.jsonl; give with --data"):
        get_task("blimp/npi_present_1", data=tmp_path).splits(SplitSizes(8, 8, 8), 0)


def test_without_data_and_without_the_hub_it_says_where_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("discogp.tasks.from_files.published._out_of_reach_since", float("inf"))
    with pytest.raises(TaskError, match=r"nyu-mll/blimp .*github\.com/alexwarstadt/blimp .*--data"):
        get_task("blimp/wh_island").splits(SplitSizes(), 0)


def test_the_hub_s_parquet_files_are_read(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "train-00000-of-00001.parquet"
    pandas.DataFrame([json.loads(text) for text in agreement_lines(2)]).to_parquet(path)
    assert [e.correct for e in read_blimp(path)] == [(" themselves",), (" herself",)] * 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"sentence_good": "a b."', r"line 2: not JSON"),
        ("[1, 2]", r"line 2: a JSON object is needed, got list"),
        ("null", r"line 2: a JSON object is needed, got NoneType"),
        ('{"sentence_good": "Mary saw herself."}', r"line 2: the field 'sentence_bad' must be a sentence, got None"),
        (line("Mary saw herself.", ""), r"line 2: the field 'sentence_bad' must be a sentence, got ''"),
        ('{"sentence_good": 3, "sentence_bad": "x"}', r"line 2: the field 'sentence_good' must be a sentence, got 3"),
        ("[" * 90_000, r"line 2: (JSON nested too deeply|not JSON)"),
        ("[" * 200_000, r"line 2: 200,000 bytes long; a line may have at most"),
    ],
)
def test_broken_lines_are_named_by_number(tmp_path: Path, bad: str, message: str) -> None:
    path = write(tmp_path, line("Mary saw herself.", "Mary saw themselves."), bad)
    with pytest.raises(TaskError, match=message):
        read_blimp(path)


def test_of_the_published_file_a_broken_line_is_one_pair_less(tmp_path: Path) -> None:
    path = write(tmp_path, line("Mary saw herself.", "Mary saw themselves."), line("Mary saw herself.", ""))
    pool = get_task("blimp/anaphor_number_agreement", data=path).pool()  # type: ignore[attr-defined]
    assert len(pool.examples) == 1
    assert pool.dropped == {UNREADABLE: 1}
    assert any("line 2: the field 'sentence_bad' must be a sentence, got ''" in note for note in pool.notes)


def test_text_that_is_not_utf8_is_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(line("Mary saw herself.", "Mary saw themselves.").encode() + b'\n{"sentence_good": "Ren\xe9e"}')
    with pytest.raises(TaskError, match=r"latin\.jsonl.*\nline 2: not UTF-8"):
        read_blimp(path)


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_an_empty_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    with pytest.raises(TaskError, match="is empty"):
        read_blimp(path)


def test_a_missing_file_or_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"cannot read the BLiMP file .*absent\.jsonl.*give the path"):
        get_task("anaphor_number_agreement", path=tmp_path / "absent.jsonl").splits(SplitSizes(), 0)
    with pytest.raises(TaskError, match="cannot read the BLiMP file"):
        read_blimp(tmp_path)


@needs_real
@pytest.mark.parametrize("path", REAL, ids=[path.stem for path in REAL])
def test_real_files(path: Path) -> None:
    """A thousand pairs each; where BLiMP gives a prefix it is ours; splits share no prompt."""
    rows = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    task = get_task(f"blimp/{path.stem}", data=FOLDER)
    pool = task.pool()  # type: ignore[attr-defined]
    assert len(pool.examples) + sum(pool.dropped.values()) == 1000
    assert (PARADIGMS[path.stem][1] == "*") == rows[0]["one_prefix_method"]
    assert (PARADIGMS[path.stem][1] == "~") == rows[0]["two_prefix_method"]
    if rows[0]["one_prefix_method"] and not pool.dropped:
        # BLiMP's is shorter where the noun is of two words ("that grocery store", "that grocery stores").
        assert all(e.prompt.startswith(row["one_prefix_prefix"]) for e, row in zip(pool.examples, rows, strict=True))
    if len({e.prompt for e in pool.examples}) < 3:
        return
    splits = task.splits(SplitSizes(), seed=1)
    prompts = [{e.prompt for e in part} for part in (splits.train, splits.validation, splits.test)]
    assert len(set.union(*prompts)) == sum(map(len, prompts))


@needs_real
def test_real_prompts_encode_with_whole_words() -> None:
    examples = get_task("blimp/anaphor_number_agreement", data=FOLDER).pool().examples  # type: ignore[attr-defined]
    tokenizer = word_tokenizer(*(text for e in examples for text in (e.sentences or ())))
    encoded = encode(examples, tokenizer, 0)
    assert not encoded.dropped
    assert [(e.prompt, e.correct, e.wrong) for e in encoded.prompts.examples] == [
        (e.prompt, e.correct, e.wrong) for e in examples
    ]


def test_items_are_each_other_s_counterfactuals_only_where_the_prompt_decides(tmp_path: Path) -> None:
    for paradigm, decides in (("anaphor_number_agreement", True), ("passive_1", False)):
        (tmp_path / f"{paradigm}.jsonl").write_text("\n".join(agreement_lines()), encoding="utf-8")
        assert get_task(f"blimp/{paradigm}", data=tmp_path).pool().paired is decides  # type: ignore[attr-defined]


def test_splits_fill_in_proportion_to_the_sizes_wanted() -> None:
    examples = [Example(f"prompt {i}", None, (" a",), (" b",)) for i in range(100)]
    splits = split_pool("t", examples, ((lambda e: e.prompt, "Prompts."),), SplitSizes(160, 20, 20), 0)
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [80, 10, 10]
