"""`tasks check` and what `prepare` announces: counts that add up, chance, counterfactuals, whole sentences."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from discogp import load_model
from discogp.cli import main
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.errors import TaskError
from discogp.paths import assets
from discogp.prompts.prepare import NO_COUNTERFACTUAL, prepare, restore
from discogp.prompts.task_check import check_task
from discogp.tasks import SplitSizes, get_task

EXAMPLE = assets() / "tasks" / "example.csv"
SIZES = SplitSizes(10, 5, 10)
OTHERS = ("John", "Paul", "Tom", "James", "David", "Robert", "Frank", "Peter", "Luke", "Adam", "Alan")
VERBS = ("admired", "blamed", "defended", "described", "helped", "introduced", "loved", "praised", "protected")


@pytest.fixture(scope="module")
def mini() -> MaskedTransformer:
    return load_model("mini")


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_items_are_kept_or_dropped(mini: MaskedTransformer, tmp_path: Path) -> None:
    rows = EXAMPLE.read_text(encoding="utf-8") + "The Xyzzy saw,Mary,John,,\nThe xyzzy saw,Mary,John,,\nA,b,b,,\n"
    check = check_task(mini, get_task("custom", file=write(tmp_path, rows)))
    assert (check.items, check.kept, sum(check.dropped.values())) == (43, 40, 3)
    assert check.accuracy == 1.0
    assert check.logit_diff > 1
    assert check.chance == 0.5
    assert json.loads(json.dumps(check.to_json()))["kept_share"] == pytest.approx(40 / 43)


def test_a_limit_draws_some(mini: MaskedTransformer) -> None:
    check = check_task(mini, get_task("custom", file=EXAMPLE), limit=7)
    assert (check.kept, check.scored) == (40, 7)
    with pytest.raises(TaskError, match="limit"):
        check_task(mini, get_task("custom", file=EXAMPLE), limit=0)


def test_pairs_without_a_common_start_are_scored_whole(mini: MaskedTransformer, tmp_path: Path) -> None:
    pairs = [("When Mary and John went to the store, John gave the ring to Mary.", "Mary went the to gave John.")] * 3
    path = tmp_path / "only_npi_scope.jsonl"
    path.write_text("\n".join(json.dumps({"sentence_good": a, "sentence_bad": b}) for a, b in pairs), encoding="utf-8")
    check = check_task(mini, get_task("blimp/only_npi_scope", data=path))
    assert (check.items, check.kept, check.sentences, check.top1) == (3, 3, True, None)
    assert check.accuracy == 1.0
    with pytest.raises(TaskError, match="share no first token"):
        prepare(mini, get_task("blimp/only_npi_scope", data=path))


def test_tasks_near_chance_or_below_the_majority_are_announced(mini: MaskedTransformer, tmp_path: Path) -> None:
    notes = prepare(mini, get_task("custom", file=_bare(tmp_path)), SIZES, only_known=False).notes
    assert any("near chance" in note for note in notes)
    same = "prompt,correct,wrong\n" + "".join(
        f'"When Mary and {name} went to the store, {name} gave the ring to",Mary,{name}\n' for name in OTHERS
    )
    notes = prepare(mini, get_task("custom", file=write(tmp_path, same)), SIZES).notes
    assert any("always says so passes" in note for note in notes)


def _bare(folder: Path) -> Path:
    """The example's prompts with right and wrong exchanged, so that the model is always wrong."""
    import csv

    with EXAMPLE.open(encoding="utf-8") as file:
        rows = [(row["prompt"], row["wrong"], row["correct"]) for row in csv.DictReader(file)]
    with (folder / "bare.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("prompt", "correct", "wrong"), *rows])
    return folder / "bare.csv"


def test_the_share_kept_and_the_recipe_make_the_same_prompts_again(mini: MaskedTransformer) -> None:
    data = prepare(mini, get_task("custom", file=str(EXAMPLE)), SIZES, seed=3)
    again = restore(mini, data.recipe())
    assert again.test.examples == data.test.examples
    assert data.shares()["kept_share"] == data.full_accuracy == 1.0
    assert data.test.counterfactual is not None
    groups = [{e.group for e in part.examples} for part in (data.train, data.validation, data.test)]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_a_circuit_of_other_weights_than_the_model_has_is_announced(mini: MaskedTransformer) -> None:
    recipe = prepare(mini, get_task("custom", file=str(EXAMPLE)), SIZES).recipe()
    same = restore(mini, {**recipe, "fingerprint": mini.weights.fingerprint})
    other = replace(mini.weights, embed=mini.weights.embed * 1.001)
    changed = restore(mini, {**recipe, "fingerprint": other.fingerprint})
    assert not any("other weights" in note for note in same.notes)
    assert "other weights" in changed.notes[0]
    assert mini.weights.fingerprint in changed.notes[0]


def test_resample_without_counterfactuals_is_refused_before_the_search(mini: MaskedTransformer, tmp_path: Path) -> None:
    task = get_task("custom", file=_bare(tmp_path))
    with pytest.raises(TaskError, match="resample ablation needs a counterfactual for every prompt"):
        prepare(mini, task, SIZES, only_known=False, need_counterfactual=True)


def test_items_of_published_data_are_each_other_s_counterfactuals(mini: MaskedTransformer, tmp_path: Path) -> None:
    lines = []
    for verb in VERBS:
        for noun, right, wrong in (("woman", "herself", "themselves"), ("women", "themselves", "herself")):
            start = f"The {noun} near the door {verb}"
            lines.append(json.dumps({"sentence_good": f"{start} {right}.", "sentence_bad": f"{start} {wrong}."}))
    extra = "Yesterday the woman near the door admired"
    lines.append(json.dumps({"sentence_good": f"{extra} herself.", "sentence_bad": f"{extra} themselves."}))
    path = tmp_path / "anaphor_number_agreement.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    task = get_task("blimp/anaphor_number_agreement", data=path)
    data = prepare(mini, task, SplitSizes(8, 4, 8), only_known=False, need_counterfactual=True)
    for part in (data.train, data.validation, data.test):
        assert part.counterfactual is not None
        assert not (part.counterfactual == part.tokens).all(1).any()
    assert data.dropped.get(NO_COUNTERFACTUAL, 0) <= 1


def test_the_command_line_checks_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["tasks", "check", "--model", "mini", "--task-file", str(EXAMPLE), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {"items", "kept", "dropped", "accuracy", "top1", "logit_diff"} <= set(result)
    assert main(["tasks", "check", "--model", "mini", "--task", "pararel/P36", "--data", str(tmp_path)]) == 1
    assert "has no trex_lms_vocab/P36.jsonl" in capsys.readouterr().err
    assert main(["tasks", "check", "--model", "mini", "--task-file", str(EXAMPLE), "--data", str(tmp_path)]) == 1
