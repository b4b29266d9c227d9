"""`import`: what comes out is a circuit folder like one of our own, with the figures that its edges really have."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest

from discogp.circuits.artifact import load_circuit
from discogp.circuits.circuit import Circuit
from discogp.cli import main
from discogp.engine.masked_transformer import load_model
from discogp.evaluation.session import run_circuit
from discogp.export import export
from discogp.paths import assets
from discogp.prompts.prepare import prepare
from discogp.tasks import SplitSizes, get_task
from tests.places import data_folder, needs

EXAMPLE = assets() / "examples" / "mini-ioi-edges"
FEW = ["--train", "16", "--validation", "16", "--test", "32"]
MIB = data_folder("mib_circuits") / "gpt2_ioi_eap_ig.json"


@pytest.fixture(scope="module")
def example() -> Circuit:
    return load_circuit(EXAMPLE)


def imported(file: Path, out: Path, *options: str, capsys: pytest.CaptureFixture[str]) -> dict:
    assert main(["import", str(file), "--model", "mini", "--out", str(out), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *options: str) -> str:
    assert main(["import", *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("format", ["mib", "edges", "csv", "json"])
def test_an_imported_circuit_is_scored_as_its_edges_deserve(example, tmp_path, capsys, format) -> None:
    """The figures against the model run by itself, with nothing of the evaluation in between."""
    file = export(example, format, tmp_path / f"theirs.{format}")
    told = imported(file, tmp_path / "out", "--task", "ioi", "--ablation", "zero", *FEW, capsys=capsys)
    model = load_model("mini")
    prompts = prepare(model, get_task("ioi"), SplitSizes(16, 16, 32)).test
    logits = run_circuit(model, example, prompts.tokens, "zero")
    right = 0
    for i in range(len(prompts)):
        last = logits[i, int(prompts.lengths[i]) - 1]
        best = [max(float(last[t]) for t in side[i].tolist() if t >= 0) for side in (prompts.correct, prompts.wrong)]
        right += best[0] > best[1]
    assert told["accuracy"] == pytest.approx(right / len(prompts))
    assert told["n"] == len(prompts)
    circuit = load_circuit(tmp_path / "out")
    assert circuit.edges == example.edges
    made = circuit.provenance
    assert made["metrics"]["accuracy"] == told["accuracy"]
    assert made["model"] == "mini"
    assert made["fingerprint"] == model.weights.fingerprint
    assert made["task"] == "ioi"
    assert made["split"] == "test"
    assert made["n_prompts"] == len(prompts)
    assert made["imported_from"]["file"] == file.name
    assert made["imported_from"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert made["d_model"] == 256


def test_an_imported_circuit_can_be_scored_taken_apart_and_exported(example, tmp_path, capsys) -> None:
    file = export(example, "mib", tmp_path / "c.json")
    imported(file, tmp_path / "c", "--task", "ioi", *FEW, capsys=capsys)
    assert main(["evaluate", str(tmp_path / "c"), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["accuracy"] == load_circuit(tmp_path / "c").provenance["metrics"]["accuracy"]
    assert again["ablation"] == "zero"  # which our own file named
    assert main(["minimality", str(tmp_path / "c"), "--top", "2"]) == 0
    for format in ("svg", "mib", "gexf"):
        assert main(["export", str(tmp_path / "c"), "--format", format, "--out", str(tmp_path / format)]) == 0
    assert "imported from c.json" in (tmp_path / "svg").read_text()


def test_a_foreign_file_is_resampled_where_the_task_has_counterfactuals(example, tmp_path, capsys) -> None:
    file = tmp_path / "list.txt"
    file.write_text("\n".join(example.edges))
    imported(file, tmp_path / "a", "--task", "ioi", *FEW, capsys=capsys)
    assert load_circuit(tmp_path / "a").ablation == "resample"
    names = ("Mary", "Anna", "Alice", "Laura", "Sarah", "Jane", "Kate", "Amy", "Emma", "Lucy", "Rachel", "Susan")
    rows = [{"prompt": f"{n} and Tom went out. Tom gave a ring to", "correct": n, "wrong": "Tom"} for n in names]
    task = tmp_path / "own.jsonl"
    task.write_text("\n".join(map(json.dumps, rows)))
    sizes = ["--train", "2", "--validation", "2", "--test", "4", "--all-prompts"]
    command = ["import", str(file), "--model", "mini", "--out", str(tmp_path / "b"), "--task-file", str(task), *sizes]
    if main(command) == 0:
        assert "set to zero" in capsys.readouterr().err
        assert load_circuit(tmp_path / "b").ablation == "zero"


def test_without_a_task_it_can_be_looked_at(example, tmp_path, capsys) -> None:
    file = export(example, "edges", tmp_path / "c.txt")
    assert main(["import", str(file), "--model", "mini", "--out", str(tmp_path / "c")]) == 0
    assert "not scored" in capsys.readouterr().err
    circuit = load_circuit(tmp_path / "c")
    assert "metrics" not in circuit.provenance
    assert main(["export", str(tmp_path / "c"), "--format", "svg", "--out", str(tmp_path / "c.svg")]) == 0
    assert "figures not computed" in (tmp_path / "c.svg").read_text()


def test_a_file_of_scores_needs_a_number_or_a_threshold(example, tmp_path, capsys) -> None:
    document = json.loads(export(example, "mib", tmp_path / "c.json").read_text())
    del document["discogp"]
    for entry in document["edges"].values():
        entry["in_graph"] = False
    file = tmp_path / "scores.json"
    file.write_text(json.dumps(document))
    options = [str(file), "--model", "mini", "--out", str(tmp_path / "c")]
    assert "--edges N or --threshold" in refused(capsys, *options)
    assert "10,000,000" not in refused(capsys, *options, "--edges", "0")
    assert main(["import", *options, "--edges", "20"]) == 0
    scores = {name: abs(entry["score"]) for name, entry in document["edges"].items()}
    assert set(load_circuit(tmp_path / "c").edges) == set(sorted(scores, key=lambda n: -scores[n])[:20])
    assert main(["import", *options, "--threshold", "0.9"]) == 0
    assert set(load_circuit(tmp_path / "c").edges) == {name for name, score in scores.items() if score >= 0.9}


def test_what_cannot_be_is_refused_in_one_line_and_leaves_nothing(example, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    options = ["--model", "mini", "--out", str(out)]
    pickled = tmp_path / "graph.pt"
    pickled.write_bytes(pickle.dumps({}, protocol=4))
    assert "to_json" in refused(capsys, str(pickled), *options)
    broken = tmp_path / "broken.json"
    broken.write_text('{"cfg": ')
    assert "broken.json" in refused(capsys, str(broken), *options)
    assert "no circuit at" in refused(capsys, str(tmp_path / "missing.json"), *options)
    assert "already" in refused(capsys, str(EXAMPLE), *options)
    listed = tmp_path / "list.txt"
    listed.write_text("m0->logits\nm77->logits\n")
    assert "m77" in refused(capsys, str(listed), *options)
    listed.write_text("m0->logits\n")
    assert "other things" in refused(capsys, str(listed), "--model", "mini", "--out", str(tmp_path))
    assert "no-such" in refused(capsys, str(listed), *options, "--task", "no-such")
    assert not out.exists()


@needs(MIB)
def test_a_circuit_of_another_model_is_refused_by_name(tmp_path, capsys) -> None:
    error = refused(capsys, str(MIB), "--model", "mini", "--task", "ioi", "--out", str(tmp_path / "c"))
    assert "gpt2_ioi_eap_ig.json is of 12 layers × 12 heads" in error
    assert "4 layers × 8 heads" in error
