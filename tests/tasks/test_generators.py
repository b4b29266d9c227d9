"""Each generator by what it claims: the answer follows from the prompt, the counterfactual says otherwise, what is held
out is, and every style of tokenizer can be asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import pytest

from discogp.errors import TaskError
from discogp.tasks import Example, SplitSizes, encode, fitted, get_task
from discogp.tasks.generated.agreement import DETERMINERS, TENSES
from discogp.tasks.generated.capitals import CAPITALS
from discogp.tasks.generated.docstring import ARGUMENTS
from discogp.tasks.generated.greater_than import EVENTS
from discogp.tasks.generated.induction import COMMON
from discogp.tasks.generated.lexicon import GENDERED, LANDMARKS, NAMES, PEOPLE, THINGS
from tests.tasks.test_tasks import AGREEMENT, TASKS, words
from tests.tasks.words import gpt2_style, llama_style, smollm2_style

SPLITS = ("train", "validation", "test")
SIZES = SplitSizes(200, 100, 200)
STYLES = {"gpt2": gpt2_style, "smollm2": smollm2_style, "llama": llama_style}
Tokenizer = Callable[..., Any]


def examples(name: str, **options: Any) -> dict[str, tuple[Example, ...]]:
    splits = get_task(name, **options).splits(SIZES, seed=0)
    return {split: getattr(splits, split) for split in SPLITS}


@cache
def texts(name: str) -> tuple[str, ...]:
    """All that a task says, with digits and words beyond it, as a vocabulary would have them."""
    said = [e for part in examples(name).values() for e in part]
    # What follows is written after a word of the prompt's kind, not after every prompt: that is 80,000 years.
    endings = {f"{'17' if e.prompt[-1].isdigit() else 'x'}{answer}" for e in said for answer in (*e.correct, *e.wrong)}
    years = [f"the year {year}" for year in range(1100, 1800)] if name == "greater_than" else []
    written = [text for e in said for text in (e.prompt, e.counterfactual or "")]
    return (*written, *sorted(endings), *years, " ".join(("water", *COMMON)))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", TASKS)
def test_every_style_of_tokenizer_can_be_asked_and_nothing_is_dropped(name: str, style: str) -> None:
    tokenizer = STYLES[style](*texts(name))
    splits = fitted(get_task(name), tokenizer).splits(SIZES, seed=0)
    for split in SPLITS:
        encoded = encode(getattr(splits, split), tokenizer, tokenizer.bos_token_id)
        assert not encoded.dropped
        assert not encoded.answers_left_out
        prompts = encoded.prompts
        assert prompts.counterfactual is not None
        assert (prompts.counterfactual != prompts.tokens).any(1).all()
        for ids, example in zip(prompts.correct.tolist(), prompts.examples, strict=True):
            assert tokenizer.decode(next(i for i in ids if i >= 0)).strip() == example.correct[0].strip()


@pytest.mark.parametrize("name", TASKS)
def test_a_tokenizer_without_the_words_is_refused_with_the_reason(name: str) -> None:
    tokenizer = gpt2_style("Nothing of the kind.")
    with pytest.raises(TaskError, match=r"none of the 200 examples can be used|needs 36 ordinary words"):
        encode(fitted(get_task(name), tokenizer).splits(SIZES, 0).test, tokenizer, None)


@pytest.mark.parametrize("name", [name for name in TASKS if name not in ("capitals", "induction")])
def test_the_words_that_are_said_to_be_held_out_are(name: str) -> None:
    """Those that the text for people lists; the two other tasks hold out no words, which has tests of its own."""
    listed = re.search(r"those of the test prompts(?: \((.*?)\)|: (.*)\.)", get_task(name).splits(SIZES, 0).held_out)
    assert listed is not None
    held_out = set((listed[1] or listed[2]).split(", "))
    said = {}
    for split, part in examples(name).items():
        answers_only = "determiner_noun" in name  # its nouns are no part of the prompt
        texts = [" ".join((*e.correct, *e.wrong) if answers_only else (e.prompt, *e.correct)) for e in part]
        said[split] = {word for text in texts for word in re.findall(r"\w+", text)}
    assert not held_out & (said["train"] | said["validation"])
    assert len(held_out & said["test"]) >= len(held_out) / 2


@pytest.mark.parametrize("name", [name for name in AGREEMENT if "anaphor" in name])
def test_reflexives_agree_and_distractors_do_not(name: str) -> None:
    nouns = [(split, *noun) for split, pool in GENDERED.items() for noun in pool]
    forms = {form: (split, gender, i) for split, *two, gender in nouns for i, form in enumerate(two)}
    places = {form: i for pair in LANDMARKS for i, form in enumerate(pair)}
    for split, part in examples(name).items():
        for example in part:
            said = [word for word in example.prompt.split() if word in forms or word in places]
            where, gender, number = forms[said[0]]
            assert where == split
            assert example.correct == ((" themselves",) if number else ({"f": " herself", "m": " himself"}[gender],))
            if name.endswith("_distractor"):
                between = said[1]
                assert (places[between] != number) if "number" in name else (forms[between][1] != gender)
            elif "gender" in name:
                assert len(said) == 1


@pytest.mark.parametrize("name", ["agreement/subject_verb", "agreement/subject_verb_distractor"])
def test_verbs_agree_with_their_subjects(name: str) -> None:
    forms = {form: (split, i) for split, pool in PEOPLE.items() for pair in pool for i, form in enumerate(pair)}
    places = {form: i for pair in LANDMARKS for i, form in enumerate(pair)}
    for split, part in examples(name).items():
        for example in part:
            (subject,) = words(example) & forms.keys()
            where, number = forms[subject]
            assert where == split
            (tense,) = (tense for tense in TENSES if example.prompt.startswith(f"{tense[0]} "))
            assert (example.correct, example.wrong) == ((tense[1 + number],), (tense[2 - number],))
            between = words(example) & places.keys()
            assert [places[word] for word in between] == ([1 - number] if name.endswith("_distractor") else [])


@pytest.mark.parametrize("name", ["agreement/determiner_noun", "agreement/determiner_noun_distractor"])
def test_nouns_agree_with_their_determiners(name: str) -> None:
    forms = {f" {form}": (split, i) for split, pool in THINGS.items() for pair in pool for i, form in enumerate(pair)}
    places = {form: i for pair in LANDMARKS for i, form in enumerate(pair)}
    numbers = {word: i for pair in DETERMINERS for i, word in enumerate(pair)}
    for split, part in examples(name).items():
        for example in part:
            (determiner,) = words(example) & numbers.keys()
            number = numbers[determiner]
            assert forms[example.correct[0]] == (split, number)
            assert forms[example.wrong[0]] == (split, 1 - number)
            between = words(example) & places.keys()
            assert [places[word] for word in between] == ([1 - number] if name.endswith("_distractor") else [])


def test_pronouns_suit_the_name_and_names_are_held_out() -> None:
    for split, part in examples("gendered_pronoun").items():
        for example in part:
            assert example.counterfactual is not None
            (name,) = words(example) & {*NAMES[split]["f"], *NAMES[split]["m"]}
            female = name in NAMES[split]["f"]
            assert (example.correct, example.wrong) == ((" she",), (" he",)) if female else ((" he",), (" she",))
            assert set(NAMES[split]["m" if female else "f"]) & set(example.counterfactual.replace(",", " ").split())


def test_later_years_are_right_and_start_years_and_events_are_held_out() -> None:
    starts: dict[str, set[str]] = {}
    for split, part in examples("greater_than").items():
        for example in part:
            start = next(word for word in example.prompt.split() if word.isdigit() and len(word) == 4)
            starts.setdefault(split, set()).add(start)
            assert words(example) & set(EVENTS[split])
            assert example.prompt.endswith(start[:2])
            assert all(answer > start[2:] for answer in example.correct)
            assert all(answer <= start[2:] for answer in example.wrong)
            assert len(example.correct) + len(example.wrong) == 100
            assert example.counterfactual == example.prompt.replace(start, start[:2] + "01")
    assert len(set.union(*starts.values())) == sum(map(len, starts.values()))


@pytest.mark.parametrize(("ask", "places"), [("units", 3), ("decade", 2)])
def test_single_digits_continue_the_number(ask: str, places: int) -> None:
    for example in examples("greater_than", ask=ask)["test"]:
        start = next(word for word in example.prompt.split() if word.isdigit() and len(word) == 4)
        assert example.prompt.endswith(start[:places])
        own = start[places]
        assert example.correct == tuple(str(d) for d in range(10) if str(d) > own)
        assert example.wrong == tuple(str(d) for d in range(10) if str(d) < own or (str(d) == own and ask == "units"))


@pytest.mark.parametrize(("style", "digits"), [("gpt2", 2), ("smollm2", 1), ("llama", 1)])
def test_greater_than_asks_for_what_a_tokenizer_has(style: str, digits: int) -> None:
    tokenizer = STYLES[style](*texts("greater_than"))
    example = fitted(get_task("greater_than"), tokenizer).splits(SIZES, 0).test[0]
    assert {len(answer) for answer in (*example.correct, *example.wrong)} == {digits}
    if digits == 1:
        with pytest.raises(TaskError, match="does not cut a year into two tokens"):
            get_task("greater_than", ask="years").fit(tokenizer)  # type: ignore[attr-defined]


def test_start_years_that_are_one_token_are_left_out() -> None:
    """GPT-2 has a token of its own for some years: their prompts would have another length."""

    class Merging:
        """Two digits a token, but 1734 and 1700 are one."""

        unk_token_id = None

        def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
            year = text.rpartition(" ")[2]
            whole = year in ("1734", "1700")
            return {"input_ids": [1] + ([int(year)] if whole else [int(year[i : i + 2]) for i in (0, 2) if year[i:]])}

    splits = fitted(get_task("greater_than"), Merging()).splits(SplitSizes(3000, 900, 900), 0)
    said = [e for split in SPLITS for e in getattr(splits, split)]
    assert not any(" 1734 " in e.prompt for e in said)
    assert any(" 1634 " in e.prompt for e in said)
    assert all("34" not in e.correct + e.wrong for e in said if e.group == "17")


def test_the_third_argument_follows_and_argument_names_are_held_out() -> None:
    for split, part in examples("docstring").items():
        for example in part:
            signature = example.prompt[example.prompt.index("(self, ") + 7 : example.prompt.index("):")].split(", ")
            assert set(signature) <= set(ARGUMENTS[split])
            assert len(set(signature)) == 4
            assert example.correct == (f" {signature[2]}",)
            assert sorted(example.wrong) == sorted(f" {name}" for name in signature if name != signature[2])
            assert [line.split()[1] for line in example.prompt.splitlines()[3:5]] == [f"{n}:" for n in signature[:2]]
            assert not set(signature) & words(Example(example.counterfactual or "", None, (" a",), (" b",)))


def test_capitals_are_the_countrys_and_the_ways_to_ask_are_held_out() -> None:
    asked: dict[str, set[str]] = {}
    for split, part in examples("capitals").items():
        for example in part:
            (country,) = words(example) & CAPITALS.keys()
            assert example.correct == (f" {CAPITALS[country]}",)
            assert set(example.wrong) == {f" {capital}" for capital in CAPITALS.values()} - set(example.correct)
            assert country not in (example.counterfactual or country)
            asked.setdefault(split, set()).add(example.prompt.replace(country, "X").split(" that ", 1)[1])
    assert len(set.union(*asked.values())) == sum(map(len, asked.values()))


@pytest.mark.parametrize("length", [4, 12, 25])
def test_what_followed_follows_again_and_neighbours_are_held_out(length: int) -> None:
    neighbours: dict[str, set[tuple[str, str]]] = {}
    for split, part in examples("induction", length=length).items():
        for example in part:
            _, *said = example.prompt.split()
            first, again = said[:length], said[length:]
            assert len(set(first)) == length
            assert again == first[: len(again)]
            assert example.correct == (f" {first[len(again)]}",)
            assert example.wrong[0].strip() in set(first) - {first[len(again)], again[-1]}
            broken = (example.counterfactual or "").split()[1:]
            assert broken[:length] == first
            assert not set(broken[length:]) & set(first)
            assert len(broken) == len(said)
            neighbours.setdefault(split, set()).update(pairwise(first))
    assert len(set.union(*neighbours.values())) == sum(map(len, neighbours.values()))


def test_induction_takes_the_tokenizers_own_words_whole_and_after_a_space() -> None:
    tokenizer = smollm2_style(" ".join(("water", *COMMON)), "an 12 of x")
    chosen = {word for e in fitted(get_task("induction"), tokenizer).splits(SIZES, 0).train for word in words(e)}
    assert chosen <= {*COMMON}
    assert "an" not in chosen


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("ioi", "order", "AABB"),
        ("ioi", "counterfactual", "none"),
        ("greater_than", "ask", "months"),
        ("induction", "length", 3),
        ("induction", "length", True),
    ],
)
def test_options_out_of_range_are_named(name: str, option: str, value: object) -> None:
    with pytest.raises(TaskError, match=rf"the option '{option}' of the task '{name}' is {value!r}"):
        get_task(name, **{option: value})


def test_indirect_objects_in_one_order_and_with_the_actor_swapped() -> None:
    for example in examples("ioi", order="BABA", counterfactual="swap")["test"]:
        assert example.group == "BABA"
        assert example.counterfactual is not None
        io, subject = example.correct[0].strip(), example.wrong[0].strip()
        text = [word.strip(",.") for word in example.counterfactual.split()]
        assert (text.count(io), text.count(subject)) == (2, 1)
        assert text.index(subject) < text.index(io)
