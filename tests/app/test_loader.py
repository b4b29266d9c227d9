"""What stands ready behind the page: figures that are computed, or saved ones that are those computed here."""

from __future__ import annotations

import threading
import time
import weakref
from dataclasses import replace
from typing import Any

import pytest

from app import libraries
from app.explore.read_file import read_file
from app.jobs import CancelledError, Job
from app.loader import Loader, canonical, loading_mb
from discogp.circuits.artifact import load_circuit
from discogp.circuits.circuit import Circuit
from discogp.circuits.document import circuit_to_json
from discogp.errors import ArtifactError
from discogp.evaluation.session import AblationSession
from discogp.paths import assets


def with_metrics(circuit: Circuit, **changed: float) -> Circuit:
    metrics = circuit.provenance["metrics"]
    other = {**metrics, "circuit": {**metrics["circuit"], **changed}}
    return replace(circuit, provenance={**circuit.provenance, "metrics": other})


@pytest.fixture
def complements(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every complement that is computed."""
    asked: list[int] = []
    real = AblationSession.complement.func  # type: ignore[attr-defined]  # a cached property's function

    def counted(session: AblationSession) -> Any:
        asked.append(1)
        return real(session)

    monkeypatch.setattr(AblationSession, "complement", property(counted))
    return asked


EXAMPLE = assets() / "examples" / "mini-ioi-edges"


def test_saved_figures_stand_until_all_are_computed_and_the_complement_where_they_agree(complements: list[int]) -> None:
    circuit = load_circuit(EXAMPLE)
    saved = circuit.provenance["metrics"]
    workbench = Loader().workbench("key", circuit).result()
    assert not workbench.session.known
    assert workbench.figures("circuit") == saved["circuit"]
    assert len(workbench.session.circuit) == len(workbench.session.full) == 256
    assert workbench.session.known
    assert workbench.figures("circuit")["kl"] == pytest.approx(saved["circuit"]["kl"], abs=1e-3)
    assert workbench.figures("complement") == saved["complement"]
    assert complements == []


@pytest.mark.parametrize("change", [{"kl": 0.5}, {"n": 7}, {"accuracy": "0.9"}])
def test_saved_figures_that_are_others_give_way_to_computed_ones(
    complements: list[int], change: dict[str, float]
) -> None:
    circuit = load_circuit(EXAMPLE)
    true = circuit.provenance["metrics"]
    workbench = Loader().workbench("key", with_metrics(circuit, **change)).result()
    assert (workbench.session.full, workbench.session.circuit) is not None
    assert workbench.figures("circuit")["kl"] == pytest.approx(true["circuit"]["kl"], abs=1e-3)
    assert workbench.figures("complement")["kl"] == pytest.approx(true["complement"]["kl"], abs=1e-3)
    assert complements


@pytest.mark.parametrize("field", ["fingerprint", "prompts"])
def test_nothing_saved_is_shown_of_other_weights_or_prompts(complements: list[int], field: str) -> None:
    circuit = load_circuit(EXAMPLE)
    other: dict[str, Any] = {"fingerprint": 1, "prompts": {"train": "", "validation": "", "test": ""}}
    workbench = (
        Loader().workbench("key", replace(circuit, provenance={**circuit.provenance, field: other[field]})).result()
    )
    assert workbench.saved is None
    assert workbench.session.known
    assert complements == [1]


def edge_of(workbench: Any) -> str:
    return next(iter(workbench.session.base.edges))


def test_what_clicks_keep_is_given_back_for_a_search_but_by_those_at_work() -> None:
    loader, circuit = Loader(), load_circuit(EXAMPLE)
    loader.give_back()  # of nothing
    idle, busy = (loader.workbench(key, circuit).result(120) for key in ("idle", "busy"))
    before = [workbench.without([edge_of(workbench)]) for workbench in (idle, busy)]
    assert all(workbench.session._toggler.kept[1] > 0 for workbench in (idle, busy))
    busy.refiner.busy = True
    loader.give_back()
    assert idle.session._toggler.kept == (0, 0)
    assert busy.session._toggler.kept[1] > 0
    busy.refiner.busy = False
    for running, paused, rests in ((True, False, False), (True, True, True)):
        busy.survey.running = running
        (busy.survey._going.clear if paused else busy.survey._going.set)()
        assert busy.rest() is rests
    assert busy.session._toggler.kept == (0, 0)
    again = idle.session.without([edge_of(idle)])
    assert (again.kl == before[0].kl).all()


def test_what_a_circuit_keeps_goes_when_it_is_given_up_for_others() -> None:
    loader, circuit = Loader(), load_circuit(EXAMPLE)
    first = loader.workbench("first", circuit).result(120)
    first.without([edge_of(first)])
    assert first.session._toggler.kept[1] > 0
    for key in ("second", "third", "fourth", "fifth"):
        loader.workbench(key, circuit).result(120)
    assert first.session._toggler.kept == (0, 0)
    seen, kept = weakref.ref(first), weakref.ref(first.session)
    del first
    for _ in range(1000):
        if seen() is None and kept() is None:
            break
        time.sleep(0.01)
    assert (seen(), kept()) == (None, None), "no thread and no circle holds what was given up"


def test_what_a_circuit_keeps_goes_even_where_its_edges_are_being_left_out() -> None:
    loader, circuit = Loader(), load_circuit(EXAMPLE)
    first = loader.workbench("first", circuit).result(120)
    first.without([edge_of(first)])
    first.survey.running = True
    for key in ("second", "third", "fourth", "fifth"):
        loader.workbench(key, circuit).result(120)
    assert first.session._toggler.kept == (0, 0)


def test_a_model_asked_for_by_two_at_once_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from discogp.engine import masked_transformer

    real, loaded = masked_transformer.load_model, list[str]()

    def counted(name: str) -> Any:
        loaded.append(name)
        return real(name)

    monkeypatch.setattr(masked_transformer, "load_model", counted)
    loader = Loader()
    checks = [loader.check("mini", task, {}) for task in ("ioi", "docstring")]
    assert [check.result(120).task for check in checks] == ["ioi", "docstring"]
    assert loaded == ["mini"]


def test_a_model_that_is_being_loaded_is_waited_for_and_another_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries.load()
    loader = Loader()
    loading = Job(1, "loading", "smollm2-135m", int)
    monkeypatch.setattr("discogp.engine.memory.available_mb", lambda device: 8000.0)
    assert not loader._may_join(Job(2, "checking", "smollm2-135m", int), (loading,))
    assert loader._may_join(Job(3, "checking", "mini", int), (loading,))
    monkeypatch.setattr("discogp.engine.memory.available_mb", lambda device: 2000.0)
    assert not loader._may_join(Job(3, "checking", "mini", int), (loading,)), "no memory for both"
    assert not loader._may_join(Job(4, "checking", "somebody/unknown", int), (loading,)), "of unknown size"


def test_what_waits_for_the_libraries_begins_when_they_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the job that loads them, which goes on for long after that."""
    there, go = threading.Event(), threading.Event()
    monkeypatch.setattr(libraries, "there", there.is_set)
    monkeypatch.setattr(libraries, "load", there.set)
    monkeypatch.setattr(Loader, "_model", lambda self, name: go.wait(60))
    loader = Loader()
    checks = [loader.check(model, "ioi", {}) for model in ("smollm2-135m", "mini")]
    try:
        for _ in range(2000):
            if all(job.state == "running" for job in loader.jobs.listed()):
                break
            go.wait(0.01)
        assert [job.state for job in loader.jobs.listed()] == ["running", "running"]
    finally:
        go.set()
    assert all(check.exception(60) is not None for check in checks)


def test_names_of_one_model_are_one() -> None:
    assert canonical("smollm2") == "smollm2-135m"
    assert canonical("/somewhere/else") == "/somewhere/else"
    assert loading_mb("smollm2") == pytest.approx(3 * 4 * 134_515_008 / 2**20)
    assert loading_mb("no/such") == float("inf")


def test_a_check_that_was_cancelled_can_be_asked_for_again() -> None:
    loader = Loader()
    check = loader.check("mini", "ioi", {})
    loader.jobs.cancel(loader.jobs.listed()[0])
    with pytest.raises(CancelledError):
        check.result(60)
    assert loader.known_check("mini", "ioi", {}) is None
    assert loader.check("mini", "ioi", {}).result(120).task == "ioi"


@pytest.mark.parametrize("size", [0, 1_200_000])
def test_a_file_is_read_in_its_own_process_or_here_alike(size: int) -> None:
    circuit = load_circuit(assets() / "examples" / "mini-ioi-edges")
    content = circuit_to_json(circuit).encode() + b" " * size
    read = read_file(content, "x.json")
    assert read.edges == circuit.edges
    assert read.provenance == circuit.provenance
    with pytest.raises(ArtifactError, match=r"no\.json"):
        read_file(b"{" + b" " * size + b"}", "no.json")
