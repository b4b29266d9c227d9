"""The folder of a run: settings come back whole, and nothing broken hides anything else."""

from __future__ import annotations

import json
import random

import pytest

from discogp.errors import ArtifactError
from discogp.runs import Run, RunSettings, RunStore, Unreadable, cancel, current
from discogp.runs.store import write_json
from tests.damage import flip

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


def test_half_a_line_of_a_killed_process_takes_no_other_with_it(store):
    run = store.create(SETTINGS)
    store.append_event(run.id, {"step": 1})
    with (store.folder(run.id) / "progress.jsonl").open("a") as file:
        file.write('{"step": 2, "los')
    store.append_event(run.id, {"step": 3})
    assert [event["step"] for event in store.events(run.id)] == [1, 3]
    assert "1 of 3 lines of progress.jsonl cannot be read and are left out; line 2" in store.log(run.id).notes[0]


@pytest.mark.parametrize("name", ["run.json", "progress.jsonl", "process.json"])
def test_no_flipped_bit_of_a_run_is_taken_for_what_was_written(store, name):
    run = store.create(SETTINGS)
    for step in range(3):
        store.append_event(
            run.id, {"phase": "edges", "step": step, "densities": {"edges": 0.25}, "losses": {"kl": 2.5}}
        )
    store.write_process(run.id, 1234, "5678")
    whole, events = store.read(run.id), store.events(run.id)
    file = store.folder(run.id) / name
    content, chance, told = file.read_bytes(), random.Random(0), 0
    for _ in range(300):
        file.write_bytes(flip(content, chance.randrange(8 * len(content))))
        try:
            if name == "run.json":
                assert store.read(run.id) == whole
            elif name == "process.json":
                assert store.process(run.id) == (1234, "5678")
            else:
                log = store.log(run.id)
                assert log.notes or log.events == events
                told += bool(log.notes)
        except ArtifactError:
            told += 1
    assert told > 200


@pytest.mark.parametrize("pid", [0, 1, -1, -5, 2**31, 10**200, True, "7", 7.0, None])
def test_a_pid_that_names_more_than_a_process_is_refused(store, pid):
    run = store.create(SETTINGS)
    (store.folder(run.id) / "process.json").write_text(json.dumps({"pid": pid, "started": None}))
    with pytest.raises(ArtifactError, match=r"process\.json .* pid is"):
        store.process(run.id)


def test_a_run_whose_process_is_unknown_can_be_cancelled(store):
    run = store.create(SETTINGS)
    (store.folder(run.id) / "process.json").write_text('{"pid": 0, "started": null}')
    (seen,) = current(store)
    assert isinstance(seen, Run)
    assert seen.live
    assert "pid is 0" in seen.notes[-1]
    assert cancel(store, run.id).state == "cancelled"
    assert store.cancel_file(run.id).exists()


def test_an_event_is_read_once_for_each_state_of_its_file(store, monkeypatch):
    run = store.create(SETTINGS)
    store.append_event(run.id, {"step": 1})
    assert store.events(run.id) == store.events(run.id)
    monkeypatch.setattr("discogp.runs.store.parse_json", lambda text: pytest.fail("it was read again"))
    assert [event["step"] for event in store.events(run.id)] == [1]
