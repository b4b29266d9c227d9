"""MIB's vocabularies: what is asked of them, on small files and on the real ones, and what damaged ones say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from discogp.errors import TaskError
from discogp.tasks import Pool, SplitSizes, get_task
from discogp.tasks.from_files.lines import UNREADABLE
from tests.places import data_folder, needs

FOLDER = data_folder("mib")
KINDS = ("ioi", "mcqa", "ravel_continent", "ravel_country", "ravel_language")
TEMPLATES = [
    "{name_A} and {name_B} were at the {place}. {name_C} gave a {object} to",
    "{name_A} and {name_B} were at the {place}. {name_C} gave an {object} to",
    "{name_A} has no {place}",
]
COLORS = {"lemon": "yellow", "apple": "red", "sky": "blue", "grass": "green", "coal": "black"}
FILES: Mapping[str, Any] = {
    "IOI_task/templates.json": TEMPLATES,
    "IOI_task/names.json": ["Mary", "John", "Ann"],
    "IOI_task/places.json": ["store", "park"],
    "IOI_task/objects.json": ["ring", "apple"],
    "simple_MCQA/object_color_pairs.json": [{"object": thing, "color": color} for thing, color in COLORS.items()],
    "RAVEL/ravel_city_entity.json": {
        "Oslo": {"Country": "Norway", "Continent": "Europe", "Language": "Norwegian"},
        "Lima": {"Country": "Peru", "Continent": "South America", "Language": "Spanish"},
        "Bergen": {"Country": "Norway", "Continent": "Europe", "Language": "Norwegian"},
    },
}


def pool(folder: Path, kind: str, **changed: Any) -> Pool:
    for name, value in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(changed.get(path.stem, value)), encoding="utf-8")
    return get_task(f"mib/{kind}", data=folder).pool()  # type: ignore[attr-defined]


def test_ioi_asks_for_the_one_who_did_not_act(tmp_path: Path) -> None:
    examples = pool(tmp_path, "ioi").examples
    asked = {
        f"{a} and {b} were at the {place}. {actor} gave {thing} to": ({a, b} - {actor}).pop()
        for a in FILES["IOI_task/names.json"]
        for b in FILES["IOI_task/names.json"]
        if a != b
        for actor in (a, b)
        for place in ("store", "park")
        for thing in ("a ring", "an apple")
    }
    assert {e.prompt: e.correct for e in examples} == {prompt: (f" {name}",) for prompt, name in asked.items()}
    for e in examples:
        assert e.counterfactual is not None
        assert f" {asked[e.counterfactual]}" == e.wrong[0]
        assert e.group == " and ".join(sorted(word for word in ("Mary", "John", "Ann") if word in e.prompt))


def test_mcqa_asks_for_the_letter_of_the_colour(tmp_path: Path) -> None:
    examples = pool(tmp_path, "mcqa").examples
    assert len(examples) == 4 * len(COLORS)
    for e in examples:
        for prompt, answers in ((e.prompt, e.correct), (e.counterfactual or "", e.wrong)):
            question, *choices, last = prompt.split("\n")
            assert last == "Answer:"
            assert question.endswith(f"{e.group}?")
            assert f" {e.group} is {COLORS[e.group]}. " in question
            assert len({choice[3:] for choice in choices}) == 4
            (right,) = [choice[0] for choice in choices if choice[3:] == COLORS[e.group]]
            assert f" {right}" in answers
        assert sorted([*e.correct, *e.wrong]) == [" A", " B", " C", " D"]
    assert any(e.prompt.startswith("Question: An apple is red. What color is an apple?\n") for e in examples)


def test_ravel_asks_for_one_attribute(tmp_path: Path) -> None:
    found = pool(tmp_path, "ravel_country")
    assert [(e.prompt, e.correct, e.wrong) for e in found.examples] == [
        ("Oslo is a city in the country of", (" Norway",), (" Peru",)),
        ("Lima is a city in the country of", (" Peru",), (" Norway",)),
        ("Bergen is a city in the country of", (" Norway",), (" Peru",)),
    ]
    assert found.paired
    assert pool(tmp_path, "ravel_continent").examples[1].correct == (" South America",)
    assert pool(tmp_path, "ravel_language").examples[0].prompt == "People in Oslo usually speak"


@pytest.mark.parametrize(
    ("kind", "changed", "kept", "message"),
    [
        (
            "mcqa",
            {"object_color_pairs": [*FILES["simple_MCQA/object_color_pairs.json"], {"object": 5}]},
            20,
            "line 1: the f",
        ),
        ("mcqa", {"object_color_pairs": [*FILES["simple_MCQA/object_color_pairs.json"], 7]}, 20, "line 1: the field"),
        (
            "ravel_country",
            {"ravel_city_entity": FILES["RAVEL/ravel_city_entity.json"] | {"X": {"Country": ""}}},
            3,
            "city 4",
        ),
        ("ravel_country", {"ravel_city_entity": FILES["RAVEL/ravel_city_entity.json"] | {"X": None}}, 3, "city 4"),
        ("ioi", {"names": ["Mary", "John", None, "Ann"]}, 48, "line 1: the field 'names' must be a text, got None"),
    ],
)
def test_a_bad_entry_is_one_entry_less(tmp_path: Path, kind: str, changed: Any, kept: int, message: str) -> None:
    found = pool(tmp_path, kind, **changed)
    assert len(found.examples) == kept
    assert found.dropped == {UNREADABLE: 1}
    assert message in found.notes[0]


@pytest.mark.parametrize(
    ("kind", "changed", "message"),
    [
        ("ioi", {"templates": TEMPLATES[2:] * 2}, "must be a JSON list of two different texts"),
        ("ioi", {"templates": [TEMPLATES[2], "x"]}, "has no prompt in it"),
        ("ioi", {"names": {}}, "must be a JSON list of two different texts or more"),
        (
            "mcqa",
            {"object_color_pairs": FILES["simple_MCQA/object_color_pairs.json"][:3]},
            "has 3 colours; a question needs 4",
        ),
        ("mcqa", {"object_color_pairs": {}}, "has no prompt in it"),
        ("ravel_country", {"ravel_city_entity": []}, "has no prompt in it"),
        ("ravel_country", {"ravel_city_entity": {"Oslo": {"Country": "Norway"}}}, "one object only"),
    ],
)
def test_files_that_make_no_task_say_why(tmp_path: Path, kind: str, changed: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        pool(tmp_path, kind, **changed)


def test_without_data_it_says_where_to_get_them() -> None:
    with pytest.raises(TaskError, match=r"github\.com/aaronmueller/MIB .*--data"):
        get_task("mib/mcqa").splits(SplitSizes(), 0)


@needs(FOLDER)
@pytest.mark.parametrize("kind", KINDS)
def test_the_real_files_make_splits_that_share_nothing(kind: str) -> None:
    task = get_task(f"mib/{kind}", data=FOLDER)
    assert not task.pool().dropped  # type: ignore[attr-defined]
    splits = task.splits(SplitSizes(), 0)
    prompts = [{e.prompt for e in part} for part in (splits.train, splits.validation, splits.test)]
    assert [len(part) for part in prompts] == [256, 128, 256]
    assert len(set.union(*prompts)) == 640
    assert all("{" not in prompt for part in prompts for prompt in part)
