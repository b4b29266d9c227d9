"""A circuit knows its prompts; what cannot be asked costs its row; too few prompts are told."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from discogp import load_model
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.errors import ConfigError, TaskError
from discogp.prompts.answers import full_answers as full
from discogp.prompts.prepare import TaskData, fingerprint, prepare, restore
from discogp.prompts.reading import pieces
from discogp.prompts.task_check import check_task
from discogp.tasks import Example, SplitSizes, Task, get_task
from discogp.tasks.encoding import TOO_LONG, UNEQUAL

SIZES = SplitSizes(20, 10, 20)
SPLITS = get_task("ioi").splits(SplitSizes(40, 20, 40), 0)
STOCK: tuple[Example, ...] = (*SPLITS.train, *SPLITS.validation, *SPLITS.test)


@pytest.fixture(scope="module")
def mini() -> MaskedTransformer:
    return load_model("mini")


def row(example: Example, **more: Any) -> dict[str, Any]:
    return {"prompt": example.prompt, "correct": list(example.correct), "wrong": list(example.wrong), **more}


def written(file: Path, rows: list[dict[str, Any]], **options: Any) -> Task:
    file.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    os.utime(file, ns=(1, len(rows)))  # read again, however quickly the next follows
    return get_task("custom", file=str(file), **options)


def found(data: TaskData, model: MaskedTransformer) -> dict[str, Any]:
    return {**data.recipe(), "fingerprint": model.weights.fingerprint}


def test_prompts_of_a_changed_file_are_told_with_the_file_s_name(mini: MaskedTransformer, tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    rows = [row(example) for example in STOCK]
    data = prepare(mini, written(file, rows), SIZES, 0)
    provenance = json.loads(json.dumps(found(data, mini)))
    assert restore(mini, provenance).notes == data.notes
    written(file, rows[7:])
    (note, *rest) = restore(mini, provenance).notes
    assert "are not those of the search (t.jsonl" in note
    assert tuple(rest) == data.notes
    assert "t.jsonl" in provenance["data_files"]


def test_another_opening_token_or_filter_makes_other_prompts(mini: MaskedTransformer) -> None:
    task = get_task("ioi")
    data = prepare(mini, task, SIZES, 0)
    recipe = found(data, mini)
    for change in ({"bos": "never"}, {"data_seed": 1}, {"split_sizes": {"train": 30, "validation": 10, "test": 20}}):
        (note, *_) = restore(mini, recipe | change).notes
        assert "prompts are not those of the search (model, task or settings are others)" in note
    assert restore(mini, {k: v for k, v in recipe.items() if k != "prompts"}).notes == data.notes  # an older circuit


WITHOUT_0_AND_3 = [place for place in range(20) if place not in (0, 3)]


def test_a_known_model_is_not_asked_again_which_prompts_it_answers(
    mini: MaskedTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepare(mini, get_task("ioi"), SIZES, 0)
    data = replace(data, answered_wrongly={**data.answered_wrongly, "test": (0, 3)})  # as of a model that errs
    data = replace(data, test=prepare(mini, get_task("ioi"), SIZES, 0, only_known=False).test.subset(WITHOUT_0_AND_3))
    recipe = found(data, mini)
    asked: list[int] = []
    monkeypatch.setattr("discogp.prompts.prepare.full_answers", lambda model, p: asked.append(1) or full(model, p))
    again = restore(mini, recipe)
    assert asked == []
    assert again.fingerprints() == data.fingerprints()
    assert again.full_accuracy == 1 - 2 / 50
    assert again.answered_wrongly == data.answered_wrongly
    for change in (
        {"fingerprint": "00000000"},
        {"prompts": {**recipe["prompts"], "test": "0" * 16}},
        {"prompts": None},
        {"answered_wrongly": {**recipe["answered_wrongly"], "test": [1]}},
        {"answered_wrongly": {**recipe["answered_wrongly"], "train": list(range(20))}},
        {"answered_wrongly": {"test": [0, 3]}},
    ):
        asked.clear()
        assert len(restore(mini, recipe | change).test) == 20, change
        assert asked, change


def test_fingerprints_are_of_tokens_and_answers_and_not_of_padding(mini: MaskedTransformer) -> None:
    prompts = prepare(mini, get_task("ioi"), SIZES, 0).test
    first = prompts.subset([0, 1])
    shorter = prompts.subset([int(prompts.lengths.argmin())])
    assert fingerprint(first) != fingerprint(prompts.subset([1, 0]))
    assert fingerprint(shorter) == fingerprint(
        replace(shorter, tokens=shorter.tokens.new_zeros(1, 60).index_copy(1, range_of(shorter), shorter.tokens))
    )
    assert fingerprint(first) != fingerprint(replace(first, correct=first.wrong, wrong=first.correct))


def range_of(prompts: Any) -> Any:
    return prompts.tokens.new_tensor(range(prompts.tokens.shape[1]))


def test_a_counterfactual_of_another_length_is_needed_for_resample_alone(
    mini: MaskedTransformer, tmp_path: Path
) -> None:
    lengths = {e.prompt: len(mini.tokenizer(e.prompt)["input_ids"]) for e in STOCK}

    def other(example: Example, same: bool) -> str:
        fits = (o.prompt for o in STOCK if o.prompt != example.prompt)
        return next(p for p in fits if (lengths[p] == lengths[example.prompt]) == same)

    rows = [row(e, counterfactual=other(e, i % 2 == 0)) for i, e in enumerate(STOCK)]
    task = written(tmp_path / "t.jsonl", rows)
    zero = prepare(mini, task, SIZES, 0)
    assert [len(p) for p in (zero.train, zero.validation, zero.test)] == [20, 10, 20]
    assert any("50 counterfactuals do not fit" in note for note in zero.notes)
    resample = prepare(mini, task, SplitSizes(10, 5, 10), 0, need_counterfactual=True)
    assert resample.dropped[UNEQUAL] == 50
    assert resample.train.counterfactual is not None


def test_one_prompt_that_is_too_long_costs_itself(mini: MaskedTransformer, tmp_path: Path) -> None:
    rows = [row(example) for example in STOCK[:40]]
    rows.insert(20, row(STOCK[0]) | {"prompt": " ".join([STOCK[0].prompt] * 8)})
    task = written(tmp_path / "t.jsonl", rows)
    check = check_task(mini, task)
    assert (check.kept, check.dropped) == (40, {TOO_LONG: 1})
    assert any(note.startswith("left out: line 21: ") and "takes 48" in note for note in check.notes)
    assert prepare(mini, task, SIZES, 0).dropped == {TOO_LONG: 1}


def test_so_few_that_figures_mean_little_are_told(mini: MaskedTransformer) -> None:
    few = prepare(mini, get_task("ioi"), SplitSizes(6, 6, 7), 0)
    assert few.few is not None
    assert few.few.startswith("ioi has 19 usable prompts (6 train, 6 validation, 7 test)")
    assert prepare(mini, get_task("ioi"), SplitSizes(8, 6, 6), 0).few is None
    assert "fewer than 5 in a split" in (prepare(mini, get_task("ioi"), SplitSizes(40, 4, 40), 0).few or "")


def test_caller_task_and_model_decide_the_opening_token_in_this_order(mini: MaskedTransformer, tmp_path: Path) -> None:
    task = written(tmp_path / "t.jsonl", [row(example) for example in STOCK])
    marked = written(tmp_path / "t.jsonl", [row(example) for example in STOCK], bos="never")
    never = load_model("mini", bos="never")

    def opened(model: MaskedTransformer, task: Task, **more: Any) -> bool:
        data = prepare(model, task, SIZES, 0, only_known=False, **more)
        assert data.recipe()["bos"] == ("always" if more else data.bos)
        return bool((data.train.tokens[:, 0] == mini.bos_id).all())

    assert opened(mini, task)
    assert not opened(mini, marked)
    assert not opened(never, task)
    assert opened(never, marked, bos="always")
    with pytest.raises(TaskError, match="option 'bos' of the task 'custom' is 'sometimes'"):
        get_task("custom", bos="sometimes")


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_word_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="bos is 'sometimes'; allowed: auto, always, never"):
        load_model("mini", bos="sometimes")  # type: ignore[arg-type]


def test_previews_show_the_tokens_asked_the_first_and_the_last_five(mini: MaskedTransformer, tmp_path: Path) -> None:
    check = check_task(mini, written(tmp_path / "t.jsonl", [row(example) for example in STOCK]))
    assert [shown["where"] for shown in check.prompts] == [f"line {i}" for i in (1, 2, 3, 4, 5, 96, 97, 98, 99, 100)]
    first = check.prompts[0]
    bos = mini.tokenizer.decode([mini.bos_id])
    assert "".join(first["tokens"]) == bos + STOCK[0].prompt.replace(" ", "·")
    assert first["correct_tokens"] == [[word.replace(" ", "·")] for word in STOCK[0].correct]
    assert check.bos == "auto"


def test_pieces_are_the_text_with_white_space_to_be_seen_and_halves_of_letters_by_name(
    mini: MaskedTransformer,
) -> None:
    from tests.tasks.words import byte_tokenizer, llama_style

    bytes_, words = byte_tokenizer(), llama_style("We saw Mary")
    assert pieces(bytes_("a\n é")["input_ids"], bytes_) == ["a", "⏎", "·", "Ã", "©"]
    assert pieces(words("We saw", add_special_tokens=False)["input_ids"], words)[-1] == "·saw"
