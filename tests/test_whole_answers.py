"""A task whose answers are two tokens, from the search to the page: IOI on `mini`, asked one token earlier.

"… gave the book" -> " to Mary" against " to John". Since " to" begins every answer, the difference between right and
wrong, and who is right, are those of the task as it is; KL and the losses are not.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.explore.results import changed_prompts, rows
from app.loader import Loader
from app.tables import metrics_table, prompts_table, tokens_table
from discogp import load_model
from discogp.circuits.artifact import load_circuit
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.methods.discogp.settings import config_to_dict, preset
from discogp.prompts import prepare as preparing
from discogp.prompts import task_check
from discogp.prompts.prepare import prepare
from discogp.prompts.task_check import check_task
from discogp.runs import RunSettings
from discogp.runs.search import Saved, run_search
from discogp.tasks import SplitSizes, get_task
from tests.whole_answers import Slow, asked_earlier, moved_into_the_answers, said

SIZES = {"train": 24, "validation": 12, "test": 6}


@pytest.fixture(scope="module")
def mini() -> MaskedTransformer:
    return load_model("mini")


@pytest.fixture
def earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (preparing, task_check):
        monkeypatch.setattr(module, "encode", asked_earlier(module.encode))


@pytest.mark.parametrize(("mask", "objective", "ablation"), [("edges", "both", "resample"), ("both", "task", "zero")])
def test_a_search_and_its_stored_figures(
    mini: MaskedTransformer, earlier: None, tmp_path: Path, mask: str, objective: str, ablation: str
) -> None:
    quick = preset("quick", mask, mini.graph.n_edges)  # type: ignore[arg-type]
    quick = replace(
        quick, objective=objective, ablation=ablation, batch_size=8, evaluations=2,
        edges=replace(quick.edges, steps=6), weights=replace(quick.weights, steps=4),
    )  # fmt: skip
    settings = RunSettings(model="mini", task="ioi", config=config_to_dict(quick), sizes=SIZES)
    out = tmp_path / "found"
    *_, last = run_search(settings, out, tmp_path / "last", tmp_path / "checkpoint", model=mini)
    assert isinstance(last, Saved)
    assert last.data.test.steps is not None
    stored = json.loads((out / "circuit.json").read_text())["provenance"]["metrics"]
    circuit = load_circuit(out)

    asked = moved_into_the_answers(one_token(mini, ablation == "resample"))
    assert [row.prompt for row in asked] == [
        ids[:n].tolist() for ids, n in zip(last.data.test.asked.tokens, last.data.test.asked.lengths, strict=True)
    ]
    weights = None
    if circuit.weight_masks is not None:
        from discogp.engine.masks import circuit_weights

        weights = circuit_weights(mini.weights, circuit)
    kept = Slow(mini, asked, ablation, weights).keeping(set(circuit.edges))
    full = [said(Slow(mini, asked).full(), row) for row in asked]
    for name, found in (("full", full), ("circuit", [said(kept, row) for row in asked])):
        expected = {
            "accuracy": np.mean([one.is_right() for one in found]),
            "top1": np.mean([one.first_is_right(row) for one, row in zip(found, asked, strict=True)]),
            "logit_diff": np.mean([float(one.difference()) for one in found]),
            "kl": np.mean([float(one.kl_from(of)) for one, of in zip(found, full, strict=True)]),
            "n": 6,
        }
        assert {key: stored[name][key] for key in expected} == pytest.approx(expected, abs=2e-3, rel=1e-3)
    assert stored["circuit"]["kl"] > 0.01


def one_token(model: MaskedTransformer, counterfactual: bool = False):
    """The test split of the task as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparing, "encode", _ENCODE)
        return prepare(model, get_task("ioi"), SplitSizes(**SIZES), need_counterfactual=counterfactual).test


_ENCODE = preparing.encode


def test_the_task_check_says_what_the_model_makes_of_it(
    mini: MaskedTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = check_task(mini, get_task("ioi"), limit=60)
    monkeypatch.setattr(task_check, "encode", asked_earlier(task_check.encode))
    after = check_task(mini, get_task("ioi"), limit=60)
    assert (after.accuracy, after.chance, after.kept) == (before.accuracy, pytest.approx(before.chance), before.kept)
    assert after.logit_diff == pytest.approx(before.logit_diff, abs=1e-4)
    assert after.top1 is not None
    assert after.top1 <= (before.top1 or 0)


def test_the_page_shows_such_a_circuit(mini: MaskedTransformer, earlier: None) -> None:
    from discogp.circuits.circuit import Circuit
    from discogp.methods.random import random_edges

    provenance = {"model": "mini", "task": "ioi", "split_sizes": SIZES, "need_counterfactual": False}
    circuit = Circuit(mini.graph, random_edges(mini.graph, 0.9), provenance=provenance)
    workbench = Loader().workbench("key", circuit).result()
    assert workbench.prompts.steps is not None
    off = ["m3", *circuit.edges[:40]]
    outcome = workbench.without(off)
    html = metrics_table(rows(circuit, workbench, outcome, len(off)), "now")
    assert "Complement" in html
    changed = changed_prompts(workbench, outcome)
    assert changed
    assert prompts_table(changed).count("<tr") == len(changed) + 1
    for prompt in (0, 3, "When Mary and John"):
        found = workbench.positions(prompt, off)
        if isinstance(prompt, int):
            shown = workbench.prompts.asked
            assert len(found) == int(shown.lengths[prompt])
            assert found[-1].follows is None
        assert tokens_table(found)
