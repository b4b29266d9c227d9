"""The folder of a run: settings come back whole, and nothing broken hides anything else."""

from __future__ import annotations

import json

import pytest

from discogp.errors import ArtifactError
from discogp.runs import Run, RunSettings, RunStore, Unreadable
from discogp.runs.store import write_json

SETTINGS = RunSettings(model="mini", task="ioi", config={"seed": 7, "mask": "edges"}, sizes={"train": 32})


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


def test_settings_come_back_whole(store):
    created = store.create(SETTINGS)
    run = store.read(created.id)
    assert run == created
    assert (run.settings, run.seed, run.state) == (SETTINGS, 7, "queued")
    assert "python" in run.versions


def test_the_first_final_state_stays(store):
    run = store.create(SETTINGS)
    store.finish(run.id, "cancelled")
    assert store.finish(run.id, "done").state == "cancelled"
    assert store.read(run.id).finished is not None


def test_writes_leave_no_temporary_file(store):
    run = store.create(SETTINGS)
    store.update(run.id, state="running")
    assert sorted(path.name for path in store.folder(run.id).iterdir()) == ["run.json"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"settings": {}}', '{"settings": {"model": 1}, "created": "x"}', "\x00\xff"],
)
def test_a_broken_folder_is_listed_and_hides_nothing(store, content):
    whole = store.create(SETTINGS)
    foreign = store.root / "foreign"
    foreign.mkdir()
    (foreign / "run.json").write_text(content, encoding="latin-1")
    (store.root / "empty").mkdir()
    found = {entry.id: entry for entry in store.list()}
    assert isinstance(found[whole.id], Run)
    assert isinstance(found["foreign"], Unreadable)
    assert "run.json" in found["empty"].reason  # type: ignore[union-attr]


def test_an_unknown_state_is_refused(store):
    run = store.create(SETTINGS)
    path = store.folder(run.id) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "state": "asleep"}))
    with pytest.raises(ArtifactError, match="asleep"):
        store.read(run.id)


def test_a_field_of_a_later_version_is_ignored(store):
    run = store.create(SETTINGS)
    path = store.folder(run.id) / "run.json"
    write_json(path, {**json.loads(path.read_text()), "later": 1})
    assert store.read(run.id) == run


@pytest.mark.parametrize("run_id", ["../x", "a/b", "", ".hidden", "x" * 200])
def test_an_id_cannot_leave_the_folder(store, run_id):
    with pytest.raises(ArtifactError, match="no run id"):
        store.folder(run_id)


def test_a_partial_last_line_waits_for_the_next_read(store):
    run = store.create(SETTINGS)
    assert store.events(run.id) == ()
    store.append_event(run.id, {"step": 1})
    with (store.folder(run.id) / "progress.jsonl").open("a") as file:
        file.write('{"step": 2, "los')
    assert store.events(run.id) == ({"step": 1},)
    with (store.folder(run.id) / "progress.jsonl").open("a") as file:
        file.write('ses": {}}\n')
    assert [event["step"] for event in store.events(run.id)] == [1, 2]


def test_only_ended_runs_are_deleted(store):
    run = store.create(SETTINGS)
    with pytest.raises(ArtifactError, match="cancel it"):
        store.delete(run.id)
    store.finish(run.id, "failed", "x")
    store.delete(run.id)
    assert store.list() == ()


def test_newest_first(store):
    first = store.create(SETTINGS)
    second = store.update(store.create(SETTINGS).id, created="2999-01-01T00:00:00+00:00")
    assert [run.id for run in store.list()] == [second.id, first.id]
