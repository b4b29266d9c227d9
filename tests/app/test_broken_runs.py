"""One bad run is told beside its name; the others stand, on every page. All bad ones at once: each page runs once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app import session
from discogp.circuits.artifact import save_circuit
from discogp.cli import main
from discogp.methods.discogp.settings import config_to_dict, preset
from discogp.runs import Run, RunSettings, RunStore
from tests.app.test_pages import html, page, ran, text

STEP = {"phase": "edges", "step": 5, "total_steps": 100, "elapsed": 2.0, "eta": 38.0, "losses": {"sparsity": 0.5}}
SEEN = {"accuracy": 0.9, "complement_accuracy": 0.5, "kl": 1.25}
DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000
LONG = "9" * 5000


def _run_json(**changes: Any) -> Callable[[Path], None]:
    """`settings_x` changes a setting; ... takes a field out. Without a seal, as an older release wrote it."""

    def change(folder: Path) -> None:
        data = json.loads((folder / "run.json").read_text())
        del data["sha256"]
        for name, value in changes.items():
            box, key = (data["settings"], name[9:]) if name.startswith("settings_") else (data, name)
            box[key] = value
            if value is ...:
                del box[key]
        (folder / "run.json").write_text(json.dumps(data))

    return change


def _raw(name: str, content: str | bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode("latin-1"))

    return change


def _event(**changes: Any) -> Callable[[Path], None]:
    """One more line, as an older release would have written it."""

    def change(folder: Path) -> None:
        with (folder / "progress.jsonl").open("a") as file:
            file.write(json.dumps({**STEP, **changes}) + "\n")

    return change


def _instead(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return change


def _flipped(name: str, before: bytes, after: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert before in content
        (folder / name).write_bytes(content.replace(before, after, 1))

    return change


# How a run is broken, and what is told beside its name.
UNREADABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "created-null": (_run_json(created=None), "created is None"),
    "created-number": (_run_json(created=5), "created is 5"),
    "created-text": (_run_json(created="yesterday"), "created is 'yesterday'"),
    "created-without-zone": (_run_json(created="2026-01-31T12:00:00"), "a time needs its zone"),
    "created-missing": (_run_json(created=...), "created is missing"),
    "model-number": (_run_json(settings_model=5), "settings.model is 5"),
    "method-list": (_run_json(settings_method=[]), r"settings.method is \[\]"),
    "config-list": (_run_json(settings_config=[]), r"settings.config is \[\]"),
    "batch-text": (_run_json(settings_config={"batch_size": "x"}), "batch_size is 'x'"),
    "batch-zero": (_run_json(settings_config={"batch_size": 0}), "batch_size is 0"),
    "mask-list": (_run_json(settings_config={"mask": []}), "mask is"),
    "sizes-text": (_run_json(settings_sizes={"train": "many"}), "train is 'many'"),
    "state-asleep": (_run_json(state="asleep"), "state is 'asleep'"),
    "state-list": (_run_json(state=[]), "state is"),
    "error-number": (_run_json(error=5), "error is 5"),
    "settings-missing": (_run_json(settings=...), "settings is missing"),
    "deep": (_raw("run.json", DEEP), "nested too deeply"),
    "deep-900": (_raw("run.json", '{"a":' * 900 + "1" + "}" * 900), "nested too deeply"),
    "long-number": (_raw("run.json", '{"created": ' + LONG + "}"), "a number of 5,000 digits"),
    "huge-number": (_raw("run.json", '{"created": 1e999}'), "1e999"),
    "twice": (_raw("run.json", '{"created": 1, "created": 2}'), "'created' twice"),
    "nan": (_raw("run.json", '{"created": NaN}'), "NaN"),
    "list": (_raw("run.json", "[]"), "an object is needed"),
    "empty": (_raw("run.json", ""), "not valid JSON"),
    "not-utf8": (_raw("run.json", b"\xff\xfe{"), "not UTF-8"),
    "flipped": (_flipped("run.json", b'"ioi"', b'"iok"'), "checksum is that of another content"),
    "flipped-key": (_flipped("run.json", b'"seed"', b'"seee"'), "checksum is that of another content"),
    "missing": (_instead("run.json", lambda path: None), "holds no run.json"),
    "folder": (_instead("run.json", lambda path: path.mkdir()), "it is a folder"),
    "loop": (_instead("run.json", lambda path: path.symlink_to(path.name)), "cannot be opened"),
    "pipe": (_instead("run.json", os.mkfifo), "no ordinary file"),
    "device": (_instead("run.json", lambda path: path.symlink_to("/dev/zero")), "no ordinary file"),
}
READABLE: dict[str, tuple[Callable[[Path], None], str]] = {
    "p-deep": (_raw("progress.jsonl", DEEP + "\n"), "line 1: it is nested too deeply"),
    "p-long-number": (_raw("progress.jsonl", '{"step": ' + LONG + "}\n"), "a number of 5,000 digits"),
    "p-not-utf8": (_raw("progress.jsonl", b"\xff\n"), "not UTF-8"),
    "p-list": (_raw("progress.jsonl", "[]\n"), "an object is needed"),
    "p-folder": (_instead("progress.jsonl", lambda path: path.mkdir()), "it is a folder"),
    "p-loop": (_instead("progress.jsonl", lambda path: path.symlink_to(path.name)), "cannot be read"),
    "p-pipe": (_instead("progress.jsonl", os.mkfifo), "no ordinary file"),
    "p-accurbcy": (_flipped("progress.jsonl", b'"accuracy"', b'"accurbcy"'), "accuracy is missing"),
    "p-figure": (_flipped("progress.jsonl", b'"accuracy": 0.9', b'"accuracy": 0.8'), "checksum"),
    "p-density-text": (_event(densities={"edges": "few"}), "densities.edges is 'few'"),
    "p-density-negative": (_event(densities={"edges": -1}), "densities.edges is -1"),
    "p-densities-list": (_event(densities=[1]), "densities is"),
    "p-validation-text": (_event(validation="good"), "validation is 'good'"),
    "p-accuracy-true": (_event(validation={**SEEN, "accuracy": True}), "validation.accuracy is True"),
    "p-step-text": (_event(step="5"), "step is '5'"),
    "p-total-null": (_event(total_steps=None), "total_steps is None"),
    "p-elapsed-list": (_event(elapsed=[]), "elapsed is"),
    "p-losses-number": (_event(losses=5), "losses is 5"),
    "p-phase-number": (_event(phase=5), "phase is 5"),
    "p-huge": (_event(step=10**200, total_steps=10**250), "step is"),
    "p-eta-huge": (_event(eta=1e300), "eta is"),
    "p-data-text": (_event(data={"train": "all"}), "data.train is 'all'"),
    "older": (_run_json(), "no checksum"),
    "unknown-method": (_run_json(settings_method="magic"), "no checksum"),
    "no-config": (_run_json(settings_config={}), "no checksum"),
    "half-a-character": (_run_json(settings_model="\ud800", error="\udfff"), "no checksum"),
    "process-zero": (_raw("process.json", '{"pid": 0, "started": null}'), "pid is 0"),
    "process-huge": (_raw("process.json", '{"pid": 99999999999, "started": null}'), "pid is 99999999999"),
    "process-deep": (_raw("process.json", DEEP), "nested too deeply"),
}


def _made(store: RunStore) -> Run:
    config = config_to_dict(preset("quick"))
    made = store.create(RunSettings(model="mini", task="ioi", config=config))
    store.append_event(made.id, {"phase": "prepare", "message": "Loading mini", "elapsed": 0.1})
    store.append_event(made.id, {**STEP, "densities": {"edges": 0.4}, "validation": SEEN, "best_step": 5})
    return made


def _broken(store: RunStore, name: str, change: Callable[[Path], None], state: str = "done") -> str:
    """A run of that name, broken so."""
    made = _made(store)
    if state == "done":
        store.finish(made.id, "done")
    folder = store.folder(made.id).rename(store.root / name)
    change(folder)
    return name


@pytest.fixture
def store(home) -> RunStore:
    return RunStore()


@pytest.fixture
def ruins(store, example) -> Run:
    """Every broken run there is, and a good one."""
    good = _made(store)
    save_circuit(example, store.circuit_folder(good.id))
    store.finish(good.id, "done")
    for name, (change, _) in (UNREADABLE | READABLE).items():
        _broken(store, name, change, "queued" if name.startswith("process") else "done")
        if name in READABLE:
            save_circuit(example, store.circuit_folder(name))
    return good


def test_each_is_told_beside_its_name(store, ruins):
    found = {run.id: run for run in store.list()}
    assert isinstance(found[ruins.id], Run)
    assert found[ruins.id].notes == store.log(ruins.id).notes == ()
    for name, (_, reason) in UNREADABLE.items():
        assert not isinstance(found[name], Run), name
        with pytest.raises(AssertionError, match=reason):
            raise AssertionError(found[name].reason)
        assert name in found[name].reason
    for name in READABLE:
        assert isinstance(found[name], Run), found[name]


def test_the_runs_page_lists_them_all(ruins):
    shown = text(ran(page("runs").run())).replace("\\", "")
    assert shown.count("mini · ioi · edges") >= 1
    for name, (_, reason) in (UNREADABLE | READABLE).items():
        assert reason.replace("\\", "") in shown, name
        if name in UNREADABLE:
            assert name in shown


def test_the_other_pages_open(ruins):
    test = ran(page("discover").run())
    assert not [error.value for error in test.error if "UnicodeEncodeError" in error.value]
    test = page("explore")
    test.session_state[session.PICKED] = f"run:{ruins.id}"
    ran(test.run())
    assert test.selectbox[0].value == f"run:{ruins.id}"
    assert "87.5 %" in html(test)


@pytest.mark.parametrize("name", [name for name in READABLE if not name.startswith("process")])
def test_a_run_with_a_fault_can_be_watched(store, name):
    change, reason = READABLE[name]
    test = page("discover")
    test.session_state[session.WATCHED] = _broken(store, name, change)
    shown = text(ran(test.run())).replace("\\", "")
    assert reason.replace("\\", "") in shown


def test_a_store_that_cannot_be_listed_is_told(store, monkeypatch):
    _made(store)
    listdir = os.listdir

    def refuse(path: Any = ".") -> list[str]:
        if Path(path) == store.root:
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert "Permission denied" in text(ran(page("runs").run()))
    ran(page("explore").run())
    ran(page("discover").run())


def test_a_file_that_may_not_be_read_is_told(store, monkeypatch):
    good, bad = _made(store), _made(store)
    opened = os.open

    def refuse(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).startswith(str(store.folder(bad.id))):
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    shown = text(ran(page("runs").run()))
    assert "Permission denied" in shown
    assert bad.id in shown.replace("\\", "")
    assert isinstance({run.id: run for run in store.list()}[good.id], Run)


def test_an_example_that_is_broken_hides_no_other(home, example):
    examples = home.parent / "assets" / "examples"
    for number, content in enumerate((DEEP, '{"a": ' + LONG + "}", "\xff", "[]", '{"provenance": 5}', "")):
        save_circuit(example, examples / f"broken-{number}")
        (examples / f"broken-{number}" / "circuit.json").write_text(content, encoding="latin-1")
    test = ran(page("explore").run())
    assert len(test.selectbox[0].options) == 7
    assert "87.5 %" in html(test)
    test.session_state[session.PICKED] = "example:broken-0"
    assert "cannot be opened" in text(ran(page("explore").run())) or "nested" in text(ran(test.run()))


def test_the_pages_say_that_an_older_circuit_has_no_checksum(home, example):
    from tests.damage import as_older

    as_older(home.parent / "assets" / "examples" / "mini-ioi-edges")
    assert "no checksum" in text(ran(page("explore").run()))


def test_the_command_line_says_so_too(home, tmp_path, example, capsys):
    from tests.damage import as_older

    folder = as_older(save_circuit(example, tmp_path / "older"))
    assert main(["export", str(folder), "--format", "json", "--out", str(tmp_path / "out.json")]) == 0
    assert "no checksum" in capsys.readouterr().err
