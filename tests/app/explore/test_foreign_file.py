"""What the page makes of a circuit file of another program, and the figures that it gives to an export."""

from __future__ import annotations

import json
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from app.explore.export_menu import measured
from app.explore.foreign_file import Wish, take
from app.loader import Loader
from discogp.circuits.artifact import load_circuit
from discogp.engine.masked_transformer import load_model
from discogp.errors import ArtifactError, ConfigError
from discogp.evaluation.scorer import evaluate
from discogp.export import render
from discogp.paths import assets
from discogp.prompts.prepare import restore

EXAMPLE = assets() / "examples" / "mini-ioi-edges"


@pytest.fixture(scope="module")
def circuit():
    return load_circuit(EXAMPLE)


def test_a_file_is_scored_with_the_model_and_task_that_were_named(circuit) -> None:
    taken = take(Wish(render(circuit, "mib"), "theirs.json", "mini", "ioi"), load_model)
    assert taken.circuit.edges == circuit.edges
    assert taken.circuit.provenance["metrics"]["accuracy"] == circuit.provenance["metrics"]["accuracy"]
    assert any("38 of 1,519 edges" in note for note in taken.notes)


def test_without_a_task_nothing_is_computed(circuit) -> None:
    taken = take(Wish(b"m0->logits", "list.txt", "mini"), load_model)
    assert taken.circuit.edges == ("m0->logits",)
    assert "metrics" not in taken.circuit.provenance


def test_what_cannot_be_taken_is_told(circuit) -> None:
    with pytest.raises(ArtifactError, match="m99"):
        take(Wish(b"m99->logits", "list.txt", "mini"), load_model)
    document = json.loads(render(circuit, "mib"))
    for entry in document["edges"].values():
        entry["in_graph"] = False
    with pytest.raises(ConfigError, match="none of its edges"):
        take(Wish(json.dumps(document).encode(), "scores.json", "mini"), load_model)


def test_an_export_of_an_edit_has_the_figures_of_what_is_left(circuit) -> None:
    """Against the circuit that is left, scored by itself as any other is."""
    off = frozenset(e.name for e in circuit.strongest(3))
    workbench = Loader().workbench("example", circuit)
    workbench.result(timeout=120)
    given = measured(workbench, off)
    assert given is not None
    assert given.edited is not None
    model = load_model("mini")
    alone = evaluate(
        model, replace(circuit, edge_mask=circuit.without(off).edge_mask), restore(model, circuit.provenance).test
    )
    for name in ("accuracy", "top1", "kl", "logit_diff", "n"):
        assert given.edited[name] == pytest.approx(alone.circuit.to_json()[name], abs=1e-4)
    assert given.circuit["kl"] == pytest.approx(circuit.provenance["metrics"]["circuit"]["kl"], abs=1e-4)
    assert given.edited["kl"] != pytest.approx(given.circuit["kl"], abs=0.1)
    text = render(circuit, "svg", off=off, measured=given).decode()
    assert f"edited circuit {alone.circuit.accuracy:.3f}" in text


def test_without_the_model_an_export_says_that_nothing_was_computed(circuit) -> None:
    failed: Future[Any] = Future()
    failed.set_exception(ConfigError("no such model"))
    for workbench in (None, failed):
        assert measured(workbench, frozenset(circuit.edges[:1])) is None
