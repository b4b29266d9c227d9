"""The built-in tasks: splits, what they hold out, counterfactuals, balance, determinism."""

from __future__ import annotations

import random

import pytest

from discogp.errors import TaskError
from discogp.tasks import Example, SplitSizes, Task, get_task, list_tasks, register, unregister
from discogp.tasks.generated.agreement import VERBS
from discogp.tasks.generated.ioi import OBJECTS, PLACES, combinations
from discogp.tasks.generated.lexicon import GENDERED

AGREEMENT = tuple(
    f"agreement/{kind}{ending}"
    for kind in ("anaphor_gender", "anaphor_number", "determiner_noun", "subject_verb")
    for ending in ("", "_distractor")
)
TASKS = (*AGREEMENT, "capitals", "docstring", "gendered_pronoun", "greater_than", "induction", "ioi")
# Half of the prompts are of one kind, half of the other, and the answer is one word.
TWO_SIDED = (*AGREEMENT, "gendered_pronoun", "ioi")
SIZES = SplitSizes(300, 200, 300)


def words(example: Example) -> set[str]:
    return set(example.prompt.replace(",", " ").replace(".", " ").split())


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> Task:
    return get_task(request.param)


def test_sizes_are_met_and_no_prompt_is_shared(task: Task) -> None:
    splits = task.splits(SIZES, seed=3)
    parts = [splits.train, splits.validation, splits.test]
    assert [len(part) for part in parts] == [300, 200, 300]
    prompts = [example.prompt for part in parts for example in part]
    assert len(set(prompts)) == len(prompts)


def test_no_counterfactual_is_a_prompt_of_another_split(task: Task) -> None:
    splits = task.splits(SIZES, seed=1)
    parts = [splits.train, splits.validation, splits.test]
    for i, part in enumerate(parts):
        elsewhere = {e.prompt for j, other in enumerate(parts) if j != i for e in other}
        assert not elsewhere & {e.counterfactual for e in part}


def test_same_seed_same_splits_and_the_global_generator_is_left_alone(task: Task) -> None:
    state = random.getstate()
    first = task.splits(SIZES, seed=7)
    assert random.getstate() == state
    random.seed(123)
    assert task.splits(SIZES, seed=7) == first
    assert task.splits(SIZES, seed=8).test != first.test


@pytest.mark.parametrize("name", TWO_SIDED)
@pytest.mark.parametrize("size", [1, 2, 51])
def test_conditions_and_answers_are_balanced(name: str, size: int) -> None:
    task = get_task(name)
    groups = [example.group for example in task.splits(SplitSizes(size, size, size), seed=0).test]
    counts = sorted(groups.count(group) for group in set(groups))
    assert sum(counts) == size
    assert max(counts) == size - size // 2


@pytest.mark.parametrize("name", [name for name in TASKS if name != "greater_than"])
def test_prompts_end_before_the_answer_and_answers_carry_their_space(name: str) -> None:
    for example in get_task(name).splits(SIZES, seed=0).train:
        assert example.prompt == example.prompt.strip()
        for answer in (*example.correct, *example.wrong):
            assert answer.startswith(" ")
            assert answer.strip().isalpha()


@pytest.mark.parametrize("name", TWO_SIDED)
def test_counterfactuals_have_as_many_words_and_another_answer(name: str) -> None:
    task = get_task(name)
    for example in task.splits(SIZES, seed=0).test:
        assert example.counterfactual is not None
        before, after = example.prompt.split(), example.counterfactual.split()
        assert len(before) == len(after)
        changed = [(a.strip(",."), b.strip(",.")) for a, b in zip(before, after, strict=True) if a != b]
        assert len(changed) == (3 if task.name == "ioi" else 1)
        if task.name == "ioi":
            assert len({b for _, b in changed}) == 3, "three different names"
            assert not {f" {b}" for _, b in changed} & {*example.correct, *example.wrong}


def test_ioi_answers_with_the_name_that_is_said_once() -> None:
    for example in get_task("ioi").splits(SIZES, seed=0).test:
        text = [word.strip(",.") for word in example.prompt.split()]
        good, bad = example.correct[0].strip(), example.wrong[0].strip()
        assert (text.count(good), text.count(bad)) == (1, 2)
        assert (text.index(good) < text.index(bad)) == (example.group == "ABBA")


def test_ioi_holds_out_names_and_combinations_of_place_and_object_for_every_seed() -> None:
    names: dict[str, set[str]] = {"train": set(), "validation": set(), "test": set()}
    for seed in range(3):
        splits = get_task("ioi").splits(SplitSizes(3000, 1000, 1000), seed)
        assert "names" in splits.held_out
        for name, found in names.items():
            for example in getattr(splits, name):
                found.update((*example.correct, *example.wrong))
                place, thing = (next(w for w in pool if w in words(example)) for pool in (PLACES, OBJECTS))
                assert (place, thing) in combinations(name)
    assert len(set.union(*names.values())) == sum(map(len, names.values()))
    everything = [pair for name in names for pair in combinations(name)]
    assert len(everything) == len(set(everything)) == len(PLACES) * len(OBJECTS)


def test_agreement_holds_out_subject_nouns_and_the_reflexive_agrees() -> None:
    splits = get_task("anaphor_number_agreement").splits(SplitSizes(2000, 500, 500), seed=0)
    for name in ("train", "validation", "test"):
        for example in getattr(splits, name):
            subjects = [
                (pool, number, noun[2])
                for pool, nouns in GENDERED.items()
                for noun in nouns
                for number in (0, 1)
                if noun[number] in words(example)
            ]
            assert len(subjects) == 1
            pool, number, gender = subjects[0]
            assert pool == name
            singular = {"f": " herself", "m": " himself"}[gender]
            assert example.correct == ((" themselves",) if number else (singular,))
            assert example.wrong == ((singular,) if number else (" themselves",))
    assert "noun" in splits.held_out


def test_genders_are_even_in_every_pool_of_nouns() -> None:
    for nouns in GENDERED.values():
        assert [gender for _, _, gender in nouns] == ["f", "m"] * (len(nouns) // 2)
        assert sum(gender == "f" for _, _, gender in nouns) * 2 == len(nouns)
    assert len({form for verb in VERBS for form in verb}) == 2 * len(VERBS)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "induction"])
def test_too_large_a_split_says_the_maximum(name: str) -> None:
    with pytest.raises(TaskError, match=r"at most \d+ validation prompts, 100000000 were asked for"):
        get_task(name).splits(SplitSizes(validation=100_000_000), seed=0)


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "9"])
def test_sizes_must_be_whole_and_positive(size: object) -> None:
    with pytest.raises(TaskError, match=r"test split has size .*at least 1"):
        SplitSizes(test=size)  # type: ignore[arg-type]


def test_examples_refuse_what_cannot_be_scored() -> None:
    with pytest.raises(TaskError, match="needs a prompt"):
        Example(" ", None, (" a",), (" b",))
    with pytest.raises(TaskError, match="at least one correct and one wrong"):
        Example("x", None, (), (" b",))
    with pytest.raises(TaskError, match="both correct and wrong"):
        Example("x", None, (" a", " b"), (" b",))


def test_registry_lists_finds_and_refuses() -> None:
    made_here = [
        task.name for task in list_tasks() if not task.name.startswith(("blimp/", "pararel/", "lre/", "mib/", "custom"))
    ]
    assert made_here == sorted(TASKS)
    for task in list_tasks():
        assert isinstance(task, Task)
        assert all((task.title, task.description, task.source))
    assert get_task("anaphor_number_agreement") == get_task("agreement/anaphor_number")
    with pytest.raises(TaskError, match=r"no task named 'ioj'; known tasks: agreement/.*, custom, .*, ioi, .*'ioi'"):
        get_task("ioj")
    with pytest.raises(TaskError, match="choose one of them"):
        get_task("zzzzzzzz")
    with pytest.raises(TaskError, match="has no option 'file'; allowed: path"):
        get_task("agreement/anaphor_number", file="x")
    with pytest.raises(TaskError, match="has no option 'path'; allowed: none"):
        get_task("capitals", path="x")


def test_registry_takes_a_new_task_and_refuses_a_second_of_that_name() -> None:
    factory = type(get_task("ioi"))
    register("test/extra", aliases=("extra",))(factory)
    try:
        assert get_task("extra") == get_task("ioi")
        for name in ("test/extra", "extra", "ioi", "anaphor_number_agreement"):
            with pytest.raises(TaskError, match="registered already"):
                register(name)(factory)
    finally:
        unregister("test/extra")
    with pytest.raises(TaskError, match="no task named 'extra'"):
        get_task("extra")
    with pytest.raises(TaskError, match="not registered"):
        unregister("test/extra")
