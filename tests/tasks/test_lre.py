"""LRE: the relations' names, prompts and answers; the real files where they are at hand, and damaged ones."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from discogp.cli import main
from discogp.errors import TaskError
from discogp.tasks import Pool, SplitSizes, get_task, list_tasks, task_options
from discogp.tasks.from_files.lines import UNREADABLE
from discogp.tasks.from_files.lre import RELATIONS, REPEATED
from tests.places import data_folder, needs

FOLDER = data_folder("lre_relations")
needs_real = needs(FOLDER)
SAMPLES: list[Any] = [
    {"subject": "Peru", "object": "Lima"},
    {"subject": "Chile", "object": "Santiago"},
    {"subject": "Bolivia", "object": "La Paz"},
    {"subject": "Bolivia", "object": "Sucre"},
]
RELATION: dict[str, Any] = {
    "name": "country capital city",
    "prompt_templates": ["The capital city of {} is"],
    "prompt_templates_zs": ["The capital of {} is the city of", "Which city is the capital of {}?"],
    "samples": SAMPLES,
}


def pool(folder: Path, text: str | bytes) -> Pool:
    path = folder / "country_capital_city.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return get_task("lre/country_capital_city", data=path).pool()  # type: ignore[attr-defined]


def written(**changed: Any) -> str:
    return json.dumps(RELATION | changed, indent=1)


def test_there_are_the_paper_s_relations() -> None:
    assert len(RELATIONS) == 47
    kinds = list(RELATIONS.values())
    assert [kinds.count(kind) for kind in ("bias", "commonsense", "factual", "linguistic")] == [7, 8, 26, 6]
    assert {f"lre/{name}" for name in RELATIONS} == {t.name for t in list_tasks() if t.name.startswith("lre/")}


def test_every_object_of_a_subject_is_right_and_those_of_others_are_wrong(tmp_path: Path) -> None:
    found = pool(tmp_path, written(samples=[*SAMPLES, SAMPLES[0]]))
    assert [(e.prompt, e.correct, e.wrong, e.group) for e in found.examples] == [
        ("The capital of Peru is the city of", (" Lima",), (" Santiago", " La Paz", " Sucre"), "Lima"),
        ("The capital of Chile is the city of", (" Santiago",), (" Lima", " La Paz", " Sucre"), "Santiago"),
        ("The capital of Bolivia is the city of", (" La Paz", " Sucre"), (" Lima", " Santiago"), "La Paz"),
    ]
    assert found.dropped == {REPEATED: 1}
    assert found.paired


def test_a_relation_without_templates_of_its_own_for_single_questions_takes_the_others(tmp_path: Path) -> None:
    relation = {name: value for name, value in RELATION.items() if name != "prompt_templates_zs"}
    assert pool(tmp_path, json.dumps(relation)).examples[0].prompt == "The capital city of Peru is"


def test_a_subject_may_have_braces_and_white_space_around_it(tmp_path: Path) -> None:
    found = pool(tmp_path, written(samples=[{"subject": " {} Ltd ", "object": "A "}, {"subject": "B", "object": "C"}]))
    assert found.examples[0].prompt == "The capital of {} Ltd is the city of"
    assert found.examples[0].correct == (" A",)


def test_names_that_are_escaped_twice_are_read_as_meant(tmp_path: Path) -> None:
    found = pool(tmp_path, written(samples=[*SAMPLES, {"subject": "Brazil", "object": "Bras\\u00edlia"}]))
    assert found.examples[-1].correct == (" Brasília",)
    found = pool(tmp_path, written(samples=[*SAMPLES, {"subject": "\\ud83d\\ude00", "object": "\\ud83d"}]))
    assert "😀" in found.examples[-1].prompt
    assert found.examples[-1].correct == (" �",)
    assert "1 names were escaped twice" in " ".join(found.notes)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"subject": "Oslo"}, "the field 'object' must be a name, got None"),
        ({"subject": "", "object": "x"}, "the field 'subject' must be a name, got ''"),
        ({"subject": "a", "object": "\ud83d"}, "half a letter"),
        (
            {"subject": ["a"] * 9, "object": 5},
            r"the field 'subject' must be a name, got \['a', 'a', 'a', .* got 5",
        ),
        ("Oslo", "a subject and an object needed, got 'Oslo'"),
    ],
)
def test_a_bad_pair_is_one_pair_less_and_named_by_its_line(tmp_path: Path, bad: Any, message: str) -> None:
    text = written(samples=[SAMPLES[0], bad, SAMPLES[1]])
    found = pool(tmp_path, text)
    assert len(found.examples) == 2
    assert found.dropped == {UNREADABLE: 1}
    line = 1 + text[: text.index(json.dumps(SAMPLES[0]["object"]))].count("\n") + 2
    (note,) = [note for note in found.notes if "left out" in note]
    assert f", line {line}: " in note
    assert re.search(message, note)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (written()[:-40], r"line \d+: not JSON"),
        ("[" * 100_000, "JSON nested too deeply"),
        ('{"a":' * 100_000, "JSON nested too deeply"),
        ("[1]", "has no list 'samples'"),
        ('{"samples": {}}', "has no list 'samples'"),
        (written(samples=[]), "has no prompt in it"),
        (written(samples=SAMPLES[:1]), "one object only"),
        (written(samples=[1, 2]), r"line 11: a subject .*\nline 12: a subject"),
        (written(prompt_templates=[], prompt_templates_zs=["{} and {}", "of {}", 7]), "has no template with one {}"),
        (b'{"samples": "\xff"}', "line 1: not UTF-8"),
        ("\ufeff{}".encode("utf-16"), "UTF-16"),
        ('{"samples": [{"subject": "a", "subject": "b", "object": "c"}]}', "line 1: the key 'subject' is there twice"),
        ('{"samples": [], "samples": []}', "the key 'samples' is there twice"),
    ],
)
def test_files_that_make_no_task_say_why(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        pool(tmp_path, text)


def test_without_data_it_says_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"github\.com/evandez/relations .*--data"):
        get_task("lre/person_father").splits(SplitSizes(), 0)
    with pytest.raises(TaskError, match=r"has no factual/person_father\.json"):
        get_task("lre/person_father", data=tmp_path).splits(SplitSizes(), 0)


def test_the_folder_may_be_the_kind_s_own(tmp_path: Path) -> None:
    (tmp_path / "factual").mkdir()
    pool(tmp_path / "factual", written())
    for data in (tmp_path, tmp_path / "factual"):
        assert len(get_task("lre/country_capital_city", data=data).pool().examples) == 3  # type: ignore[attr-defined]


@needs_real
@pytest.mark.parametrize("relation", RELATIONS)
def test_real_relations(relation: str) -> None:
    file = FOLDER / RELATIONS[relation] / f"{relation}.json"
    if not file.exists():
        pytest.skip(f"{file.name} is not among the files on this machine")
    found = get_task(f"lre/{relation}", data=FOLDER).pool()  # type: ignore[attr-defined]
    published = json.loads(file.read_text(encoding="utf-8"))
    assert {e.prompt for e in found.examples} == {
        published["prompt_templates_zs"][0].replace("{}", sample["subject"].strip()) for sample in published["samples"]
    }
    pairs = sum(len(e.correct) for e in found.examples)
    assert pairs + sum(found.dropped.values()) == len(published["samples"])
    assert set(found.dropped) <= {REPEATED}
    assert all(answer == f" {answer.strip()}" and "\\u" not in answer for e in found.examples for answer in e.correct)
    assert all(not set(e.correct) & set(e.wrong) for e in found.examples)


def test_answers_of_several_tokens_can_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "company_ceo.json").write_text(written(), encoding="utf-8")
    task = get_task("lre/company_ceo", data=tmp_path, answers="whole")
    assert task_options(task) == {"data": tmp_path, "answers": "whole"}
    with pytest.raises(
        TaskError, match="'answers' of the task 'lre/company_ceo' is 'first'; allowed: 'token', 'whole'"
    ):
        get_task("lre/company_ceo", data=tmp_path, answers="first")


@needs_real
def test_the_command_line_checks_a_real_relation(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--task", "lre/country_capital_city", "--data", str(FOLDER), "--model", "mini", "--json"]
    assert main(["tasks", "check", *options]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["items"] == 24
    assert row["kept"] == 24 - sum(row["dropped"].values())
    assert row["prompts"][0]["prompt"].startswith("The capital of ")
