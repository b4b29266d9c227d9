"""Answers of two and three tokens from a file to the page, on `mini`.

" Mary and" against " John and" and " John at the". What is stored of a search is what a plain loop over prompt + answer
finds.
"""

from __future__ import annotations

import csv
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
from discogp.circuits.circuit import Circuit
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.engine.masks import circuit_weights
from discogp.methods.discogp.settings import config_to_dict, preset
from discogp.methods.random import random_edges
from discogp.prompts.prepare import fingerprint
from discogp.prompts.task_check import check_task
from discogp.runs import RunSettings
from discogp.runs.search import Saved, run_search
from discogp.tasks import SplitSizes, get_task
from discogp.tasks.encoded import Prompts, Row
from tests.whole_answers import Slow, said

SIZES = {"train": 12, "validation": 5, "test": 5}


@pytest.fixture(scope="module")
def mini() -> MaskedTransformer:
    return load_model("mini")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.csv"
    with path.open("w", newline="", encoding="utf-8") as opened:
        out = csv.writer(opened)
        out.writerow(["prompt", "counterfactual", "correct", "wrong"])
        for e in get_task("ioi").splits(SplitSizes(40, 1, 1), 0).train:
            right, wrong = e.correct[0], e.wrong[0]
            out.writerow([e.prompt, e.counterfactual, f"{right} and", f"{wrong} and|{wrong} at the"])
    return path


def asked(model: MaskedTransformer, prompts: Prompts) -> list[Row]:
    """The prompts as rows, from their texts."""
    tokenizer = model.tokenizer

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    found: list[Row] = []
    for e in prompts.examples:
        assert e.counterfactual is not None
        own, other = ([model.bos_id, *ids(text)] for text in (e.prompt, e.counterfactual))
        found.append(Row(e, own, other, list(map(ids, e.correct)), list(map(ids, e.wrong))))  # type: ignore[arg-type]
    assert {len(answer) for row in found for answer in (*row.correct, *row.wrong)} == {2, 3}
    return found


@pytest.mark.parametrize(("mask", "objective", "ablation"), [("edges", "both", "resample"), ("both", "task", "zero")])
def test_a_search_and_its_stored_figures(
    mini: MaskedTransformer, file: Path, tmp_path: Path, mask: str, objective: str, ablation: str
) -> None:
    quick = preset("quick", mask, mini.graph.n_edges)  # type: ignore[arg-type]
    quick = replace(
        quick, objective=objective, ablation=ablation, batch_size=8, evaluations=2, target_accuracy=0.3,
        edges=replace(quick.edges, steps=6, polish=0, sparsity_start=150.0, attribution_span=0.0),
        weights=replace(quick.weights, steps=6, sparsity_start=100.0, initial_logit=0.5),
    )  # fmt: skip
    settings = RunSettings("mini", "custom", config_to_dict(quick), {"file": str(file)}, SIZES)
    out = tmp_path / "found"
    *_, last = run_search(settings, out, tmp_path / "last", tmp_path / "checkpoint", model=mini)
    assert isinstance(last, Saved)
    test = last.data.test
    assert (len(test), test.n_rows) == (5, 20)  # a prompt, and with each name, and with " John at"
    stored = json.loads((out / "circuit.json").read_text())["provenance"]["metrics"]
    circuit = load_circuit(out)
    texts = asked(mini, test)
    weights = None if circuit.weight_masks is None else circuit_weights(mini.weights, circuit)
    kept = Slow(mini, texts, ablation, weights).keeping(set(circuit.edges))
    full = [said(Slow(mini, texts).full(), row) for row in texts]
    for name, found in (("full", full), ("circuit", [said(kept, row) for row in texts])):
        expected = {
            "accuracy": np.mean([one.is_right() for one in found]),
            "top1": np.mean([one.first_is_right(row) for one, row in zip(found, texts, strict=True)]),
            "logit_diff": np.mean([float(one.difference()) for one in found]),
            "kl": np.mean([float(one.kl_from(of)) for one, of in zip(found, full, strict=True)]),
            "n": 5,
        }
        assert {key: stored[name][key] for key in expected} == pytest.approx(expected, abs=2e-3, rel=1e-3)
    assert stored["circuit"]["kl"] > 1e-4
    assert circuit.edge_density < 0.9


def test_the_task_check_says_what_the_model_makes_of_it(mini: MaskedTransformer, file: Path) -> None:
    found = check_task(mini, get_task("custom", file=file))
    assert (found.kept, found.dropped) == (40, {})
    assert found.chance == pytest.approx(1 / 3, abs=1e-6)
    assert [len(tokens) for tokens in found.prompts[0]["wrong_tokens"]] == [2, 3]
    kept_to_one_token = get_task("custom", file=file, answers="token")
    with pytest.raises(Exception, match="more than one token"):
        check_task(mini, kept_to_one_token)


def test_prompts_with_another_last_token_are_other_prompts() -> None:
    row = Row(get_task("ioi").splits(SplitSizes(1, 1, 1), 0).train[0], [1, 2], None, [[3, 4]], [[5]])
    assert fingerprint(Prompts.of([row])) != fingerprint(Prompts.of([replace(row, correct=[[3, 6]])]))


def test_the_page_shows_such_a_circuit(mini: MaskedTransformer, file: Path) -> None:
    provenance = {"model": "mini", "task": "custom", "task_options": {"file": str(file)}, "split_sizes": SIZES}
    circuit = Circuit(mini.graph, random_edges(mini.graph, 0.9), provenance=provenance)
    workbench = Loader().workbench("key", circuit).result()
    assert workbench.prompts.steps is not None
    off = ["m3", *circuit.edges[:40]]
    outcome = workbench.without(off)
    assert "Complement" in metrics_table(rows(circuit, workbench, outcome, len(off)), "now")
    changed = changed_prompts(workbench, outcome)
    assert changed
    assert prompts_table(changed).count("<tr") == len(changed) + 1
    for prompt in (0, 2, "When Mary and John"):
        found = workbench.positions(prompt, off)
        if isinstance(prompt, int):
            assert len(found) == int(workbench.prompts.lengths[prompt])
            assert found[-1].follows is None
        assert tokens_table(found)
