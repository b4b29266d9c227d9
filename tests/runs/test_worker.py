"""The worker's process on the embedded model: to the end, into an error, and cancelled on the way."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace

import pytest

from discogp import paths
from discogp.circuits.artifact import load_circuit
from discogp.errors import ArtifactError
from discogp.methods.discogp.settings import config_to_dict, preset
from discogp.runs import Run, RunSettings, RunStore, cancel, launch, resume, start

needs_mini = pytest.mark.skipif(
    not (paths.assets() / "mini" / "config.json").is_file(), reason="the embedded model is not in assets/mini"
)


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


def settings(steps: int = 4, **rest) -> RunSettings:
    config = preset("quick")
    config = replace(config, evaluations=2, edges=replace(config.edges, steps=steps, polish=0))
    sizes = {"train": 32, "validation": 8, "test": 8}
    return RunSettings(**{"model": "mini", "task": "ioi", "config": config_to_dict(config), "sizes": sizes, **rest})


def wait(store: RunStore, run: Run, until, seconds: float = 180) -> Run:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        run = launch.refresh(store, store.read(run.id))
        if until(run):
            return run
        time.sleep(0.1)
    raise AssertionError(f"{run} {store.events(run.id)[-1:]} {store.log_file(run.id).read_text()}")


@needs_mini
def test_a_run_to_its_end(store):
    run = wait(store, start(store, store.create(settings())), lambda run: not run.live)
    assert (run.state, run.error) == ("done", None)
    steps = [event["step"] for event in store.events(run.id) if event["phase"] == "edges"]
    assert steps == [1, 2, 3, 4]
    circuit = load_circuit(store.circuit_folder(run.id))
    made = circuit.provenance
    assert (made["run"], made["model"], made["task"], made["seed"]) == (run.id, "mini", "ioi", 0)
    assert made["split_sizes"] == run.settings.sizes
    assert set(made["metrics"]) >= {"full", "circuit", "complement", "accuracy", "edge_density"}
    assert load_circuit(store.folder(run.id) / "circuit-last").graph == circuit.graph


@needs_mini
def test_cancel_in_the_middle_and_the_next_in_the_queue_goes_on(store):
    first = start(store, store.create(settings(steps=100_000)))
    wait(store, first, lambda _: any(event["phase"] == "edges" for event in store.events(first.id)))
    second = start(store, store.create(settings()))
    assert cancel(store, first.id).state == "cancelled"
    assert not (store.circuit_folder(first.id)).exists()
    process = store.process(first.id)
    assert process is not None
    assert not launch.is_alive(*process)
    assert wait(store, second, lambda run: not run.live).state == "done"


@needs_mini
def test_a_run_whose_process_was_killed_goes_on_from_its_checkpoint(store):
    asked = settings(steps=12)
    asked = replace(asked, config={**asked.config, "checkpoint_every": 2})
    run = start(store, store.create(asked))
    wait(store, run, lambda run: store.checkpoint(run.id).exists())
    process = store.process(run.id)
    assert process is not None
    os.kill(process[0], signal.SIGKILL)
    run = wait(store, run, lambda run: not run.live)
    assert run.state == "failed"
    assert store.can_continue(run)
    run = wait(store, resume(store, run.id), lambda run: not run.live)
    assert (run.state, run.error) == ("done", None)
    assert [event["step"] for event in store.events(run.id) if event["phase"] == "edges"] == list(range(1, 13))
    assert any("Continuing after step" in str(event.get("message")) for event in store.events(run.id))
    assert not store.can_continue(run)
    assert not store.checkpoint(run.id).exists()
    with pytest.raises(ArtifactError, match="start it anew"):
        resume(store, run.id)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"model": "/no/such/folder"}, "/no/such/folder"),
        ({"config": {"speed": 1}}, "speed"),
    ],
)
def test_what_the_user_can_mend_is_told_in_its_own_words(store, wrong, told):
    run = wait(store, start(store, store.create(settings(**wrong))), lambda run: not run.live)
    assert run.state == "failed"
    assert told in (run.error or "")
    assert "Traceback" not in store.log_file(run.id).read_text()


def test_what_nobody_foresaw_is_told_with_its_type_and_logged(store):
    run = wait(store, start(store, store.create(settings(sizes={"teaching": 1}))), lambda run: not run.live)
    assert run.state == "failed"
    assert (run.error or "").split(":")[0].endswith("Error")
