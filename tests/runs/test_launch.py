"""Processes of runs, without a model: liveness, cancel, crash, and a pid that now belongs to another."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from discogp.runs import RunSettings, RunStore, cancel, current, launch

SETTINGS = RunSettings(model="mini", task="ioi", config={"seed": 0})


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def sleeper():
    """A process in a session of its own that ignores SIGTERM, like a long tensor operation."""
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_cancel_stops_even_a_deaf_process_at_once(store, sleeper):
    run = store.create(SETTINGS)
    store.write_process(run.id, sleeper.pid, launch.start_ticks(sleeper.pid))
    store.update(run.id, state="running")
    began = time.monotonic()
    assert cancel(store, run.id).state == "cancelled"
    assert sleeper.wait(timeout=2) != 0
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("own", [None, "65536"])
def test_a_worker_gives_back_what_it_has_freed_unless_its_user_says_otherwise(store, sleeper, monkeypatch, own):
    environments = []

    def started(command, env, **rest):
        environments.append(env)
        return sleeper

    monkeypatch.setattr(launch.subprocess, "Popen", started)
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    if own is not None:
        monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", own)
    launch.start(store, store.create(SETTINGS))
    assert [env["MALLOC_MMAP_THRESHOLD_"] for env in environments] == [own or "1048576"]


def test_a_living_run_stays(store, sleeper):
    run = store.create(SETTINGS)
    store.write_process(run.id, sleeper.pid, launch.start_ticks(sleeper.pid))
    assert [entry.state for entry in current(store)] == ["queued"]  # type: ignore[union-attr]


def test_a_reused_pid_is_not_mistaken_for_the_run(store, sleeper):
    run = store.create(SETTINGS)
    store.write_process(run.id, sleeper.pid, "some other time")
    store.update(run.id, state="running")
    store.log_file(run.id).write_text("one\nKilled by the system\n")
    run = launch.refresh(store, store.read(run.id))
    assert run.state == "failed"
    assert "Killed by the system" in (run.error or "")
    assert cancel(store, run.id).state == "failed"
    assert sleeper.poll() is None, "cancelling must not kill a stranger"


def test_a_zombie_is_not_alive():
    process = subprocess.Popen([sys.executable, "-c", ""])
    ticks = launch.start_ticks(process.pid)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not launch.is_alive(process.pid, ticks)
    process.wait()


def test_a_run_whose_process_never_came_fails_after_a_while(store):
    run = store.create(SETTINGS)
    assert launch.refresh(store, run).state == "queued"
    before = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    assert launch.refresh(store, store.update(run.id, created=before)).state == "failed"


def test_ended_runs_are_left_alone(store):
    run = store.create(SETTINGS)
    store.finish(run.id, "done")
    assert cancel(store, run.id).state == "done"
