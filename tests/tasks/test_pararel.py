"""PARAREL: patterns, answer sets, subjects held out; real facts where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from discogp.errors import TaskError
from discogp.tasks import SplitSizes, encode, get_task, list_tasks, paired
from discogp.tasks.encoding import MULTI_TOKEN
from discogp.tasks.from_files.lines import UNREADABLE
from discogp.tasks.from_files.pararel import RELATIONS, REPEATED
from tests.places import data_folder, needs
from tests.tasks.words import word_tokenizer

FOLDER = data_folder("pararel")
needs_real = needs(FOLDER)
FACTS = [("Thailand", "Bangkok"), ("France", "Paris"), ("Peru", "Lima"), ("India", "New Delhi"), ("Texas", "Paris")]
PATTERNS = ["[Y] is the capital of [X].", "The [X] town [Y] shines.", "The capital of [X] is [Y] ."]


def folder(at: Path, facts: list[tuple[str, str]] = FACTS, patterns: list[str] = PATTERNS) -> Path:
    for name, rows in (
        ("trex_lms_vocab", [{"sub_label": a, "obj_label": b} for a, b in facts]),
        ("pattern_data/graphs_json", [{"pattern": pattern} for pattern in patterns]),
    ):
        place = at / "pararel" / name
        place.mkdir(parents=True)
        (place / "P36.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return at


def test_there_are_the_paper_s_relations() -> None:
    assert len(RELATIONS) == 21
    assert {f"pararel/{name}" for name in RELATIONS} == {t.name for t in list_tasks() if t.name.startswith("pararel/")}


def test_prompts_end_before_the_object_and_other_objects_are_wrong(tmp_path: Path) -> None:
    task = get_task("pararel/P36", data=folder(tmp_path, [*FACTS, FACTS[0]]))
    pool = task.pool()  # type: ignore[attr-defined]
    first = pool.examples[0]
    assert first.prompt == "The capital of Thailand is"
    assert (first.correct, first.wrong) == ((" Bangkok",), (" Paris", " Lima", " New Delhi"))
    assert pool.dropped == {REPEATED: 1}
    tokenizer = word_tokenizer(*(f"{e.prompt}{a}" for e in pool.examples for a in (*e.correct, *e.wrong)))
    encoded = encode(pool.examples, tokenizer, 0)
    assert encoded.dropped == {MULTI_TOKEN: 1}
    assert encoded.answers_left_out == {MULTI_TOKEN: 1}
    assert (encoded.prompts.wrong >= 0).sum(1).tolist() == [2] * 4


def test_the_file_of_facts_finds_its_patterns(tmp_path: Path) -> None:
    file = folder(tmp_path) / "pararel" / "trex_lms_vocab" / "P36.jsonl"
    assert len(get_task("pararel/P36", data=file).pool().examples) == 5  # type: ignore[attr-defined]


def test_counterfactuals_are_other_subjects_with_another_object(tmp_path: Path) -> None:
    examples = get_task("pararel/P36", data=folder(tmp_path)).pool().examples  # type: ignore[attr-defined]
    tokenizer = word_tokenizer(*(f"{e.prompt}{a}" for e in examples for a in (*e.correct, *e.wrong)))
    prompts, alone = paired(encode(examples, tokenizer, 0).prompts)
    assert not alone
    assert prompts.counterfactual is not None
    asked = {
        tuple(row): answers[0] for row, answers in zip(prompts.tokens.tolist(), prompts.correct.tolist(), strict=True)
    }
    for row, answers in zip(prompts.counterfactual.tolist(), prompts.correct.tolist(), strict=True):
        assert asked[tuple(row)] != answers[0]


def test_an_item_without_a_counterpart_is_told(tmp_path: Path) -> None:
    facts = [("Texas", "Paris"), ("France", "Paris"), ("Old New Peru", "Lima")]
    examples = get_task("pararel/P36", data=folder(tmp_path, facts)).pool().examples  # type: ignore[attr-defined]
    tokenizer = word_tokenizer(*(f"{e.prompt}{a}" for e in examples for a in (*e.correct, *e.wrong)))
    assert paired(encode(examples, tokenizer, 0).prompts)[1] == [0, 1, 2]


@pytest.mark.parametrize(
    ("facts", "patterns", "message"),
    [
        (FACTS, ["[Y] rules [X]."], r"no pattern in which \[X\] comes before \[Y\]"),
        (FACTS[:1], PATTERNS, "one object only"),
        ([("", "Paris")], PATTERNS, r"line 1: the field 'sub_label' must be a name, got ''"),
    ],
)
def test_files_that_make_no_task_say_why(
    tmp_path: Path, facts: list[tuple[str, str]], patterns: list[str], message: str
) -> None:
    with pytest.raises(TaskError, match=message):
        get_task("pararel/P36", data=folder(tmp_path, facts, patterns)).splits(SplitSizes(), 0)


def test_without_data_it_says_where_to_get_them() -> None:
    with pytest.raises(TaskError, match=r"github\.com/yanaiela/pararel .*--data"):
        get_task("pararel/P36").splits(SplitSizes(), 0)


@needs_real
@pytest.mark.parametrize("relation", RELATIONS)
def test_real_relations(relation: str) -> None:
    task = get_task(f"pararel/{relation}", data=FOLDER.parent)
    splits = task.splits(SplitSizes(), seed=0)
    parts = (splits.train, splits.validation, splits.test)
    prompts = [{e.prompt for e in part} for part in parts]
    assert len(set.union(*prompts)) == sum(map(len, prompts))
    assert all("[" not in prompt for part in prompts for prompt in part)
    assert len({e.prompt.split()[-1] for part in parts for e in part}) == 1, "the pattern stands last in every prompt"


def test_a_pattern_may_begin_with_the_subject(tmp_path: Path) -> None:
    task = get_task("pararel/P36", data=folder(tmp_path, patterns=["[X] has the capital [Y] ."]))
    prompts = [example.prompt for example in task.pool().examples]  # type: ignore[attr-defined]
    assert all(prompt.endswith("has the capital") and not prompt.startswith("[X]") for prompt in prompts)


def test_a_line_without_a_name_is_one_fact_less(tmp_path: Path) -> None:
    pool = get_task("pararel/P36", data=folder(tmp_path, [*FACTS, ("Oslo", "")])).pool()  # type: ignore[attr-defined]
    assert len(pool.examples) == len(FACTS)
    assert pool.dropped == {UNREADABLE: 1}
    assert any(f"line {len(FACTS) + 1}: the field 'obj_label' must be a name" in note for note in pool.notes)
