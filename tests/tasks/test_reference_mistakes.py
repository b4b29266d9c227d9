"""Mistakes 3, 4 and 6 of the method's reference release, as far as they concern tasks: each must stay impossible."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from discogp.tasks import Example, SplitSizes, encode, get_task
from discogp.tasks.encoding import GLUED
from discogp.tasks.from_files.blimp import read_blimp
from tests.tasks.test_tasks import TASKS
from tests.tasks.words import bos_adding_tokenizer


def test_mistake_3_candidates_keep_their_leading_space_and_are_never_the_bos_token() -> None:
    """There: "Mary" was encoded without its space, and with a tokenizer that adds a BOS both names became the BOS."""
    examples = get_task("ioi").splits(SplitSizes(64, 16, 64), seed=0).test
    tokenizer = bos_adding_tokenizer(
        "Mary", *(f"{e.prompt}{e.correct[0]}{e.wrong[0]} {e.counterfactual}" for e in examples)
    )
    assert tokenizer("Mary")["input_ids"][0] == tokenizer.bos_token_id
    prompts = encode(examples, tokenizer, tokenizer.bos_token_id).prompts
    assert len(prompts) == len(examples)
    for candidates, answers in ((prompts.correct, "correct"), (prompts.wrong, "wrong")):
        assert not (candidates == tokenizer.bos_token_id).any()
        for ids, example in zip(candidates.tolist(), prompts.examples, strict=True):
            assert (tokenizer.decode(ids[0]),) == getattr(example, answers)
    assert (prompts.correct != prompts.wrong).all()


def test_mistake_3_an_answer_without_its_space_is_dropped_not_guessed() -> None:
    good = Example("We saw", None, (" Mary",), (" John",))
    bad = Example("We saw", None, ("Mary",), ("John",))
    tokenizer = bos_adding_tokenizer("We saw Mary John", "Mary", "John")
    encoded = encode([good, bad], tokenizer, tokenizer.bos_token_id)
    assert encoded.prompts.examples == (good,)
    assert encoded.dropped == {GLUED: 1}


def test_mistake_4_no_word_after_the_point_where_the_sentences_part_is_kept(tmp_path: Path) -> None:
    """There: BLiMP prompts kept the words behind the answer."""
    path = tmp_path / "pairs.jsonl"
    row = {"sentence_good": "The girls hurt themselves at school.", "sentence_bad": "The girls hurt herself at school."}
    path.write_text(json.dumps(row), encoding="utf-8")
    (example,) = read_blimp(path)
    assert example.prompt == "The girls hurt"
    assert (example.correct, example.wrong) == ((" themselves",), (" herself",))


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("seed", range(3))
def test_mistake_6_splits_share_no_prompt(name: str, seed: int) -> None:
    """There: train and test shared prompts."""
    splits = get_task(name).splits(SplitSizes(500, 250, 500), seed)
    prompts = [{e.prompt for e in part} for part in (splits.train, splits.validation, splits.test)]
    assert len(set.union(*prompts)) == sum(map(len, prompts)) == 1250
    assert splits.held_out


@pytest.mark.parametrize("name", TASKS)
def test_mistake_6_what_is_held_out_does_not_depend_on_the_seed(name: str) -> None:
    """A circuit, or the embedded model, trained with one seed must meet no test prompt of another seed."""
    train = {e.prompt for e in get_task(name).splits(SplitSizes(1400, 1, 1), 0).train}
    for seed in range(1, 4):
        assert not train & {e.prompt for e in get_task(name).splits(SplitSizes(1, 1, 700), seed).test}
