"""Start, watch and cancel the process of a run.

A worker is started in a session of its own, so that it outlives the page and the server that started it, and
so that cancelling reaches everything it started. Workers take turns (see `worker`): a second run waits in
state `queued`. POSIX only: it needs process groups.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from discogp import paths
from discogp.errors import ArtifactError, ContentError
from discogp.reading import read_bytes
from discogp.runs.store import Run, RunStore, Unreadable

GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
"""Environment of a process that gives freed tensors back to the system. By default glibc raises this threshold to up to
32 MB as it goes, and keeps most of what was freed in pieces: a search took up to 65 % more, and no less time."""
_START_TIME = 30.0  # seconds that a run may wait for its process to be started
_PATIENCE = 0.3  # seconds between asking a worker to stop and making it stop
_LONGEST_LOG = 64 * 2**20
_DEATH = 5.0  # seconds that the system may take to end a process that it was told to kill


def start(store: RunStore, run: Run) -> Run:
    """Start the worker of a queued run."""
    environment = {**GIVES_BACK, **os.environ, "PYTHONUNBUFFERED": "1", "DISCOGP_HOME": str(paths.home())}
    # The package may be used straight from its folder, without having been installed.
    environment["PYTHONPATH"] = os.pathsep.join(
        part for part in (str(paths.REPOSITORY), os.environ.get("PYTHONPATH", "")) if part
    )
    with store.log_file(run.id).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "discogp.runs.worker", str(store.folder(run.id))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
    # Without somebody waiting for it, an ended worker would stay a zombie as long as the server runs.
    threading.Thread(target=process.wait, daemon=True, name=f"reap-{run.id}").start()
    store.write_process(run.id, process.pid, start_ticks(process.pid))
    return store.read(run.id)


def resume(store: RunStore, run_id: str) -> Run:
    """Take an interrupted run up again from its checkpoint. ArtifactError if it has none."""
    return start(store, store.requeue(run_id))


def current(store: RunStore) -> tuple[Run | Unreadable, ...]:
    """Every run, newest first; those whose process has vanished are marked failed first."""
    return tuple(run if isinstance(run, Unreadable) else _refreshed(store, run) for run in store.list())


def _refreshed(store: RunStore, run: Run) -> Run | Unreadable:
    try:
        return refresh(store, run)
    except (ArtifactError, OSError) as error:  # deleted, or not to be written to: the others stand
        return Unreadable(run.id, str(error))


def refresh(store: RunStore, run: Run) -> Run:
    """The run as it is now. A live run without its process (crash, reboot, kill) becomes `failed`."""
    if not run.live:
        return run
    try:
        process = store.process(run.id)
    except ArtifactError as error:  # its process may be at work: cancelling ends it, and what it has saved stays
        return replace(run, notes=(*run.notes, str(error)))
    if process is not None and is_alive(*process):
        return run
    if process is None and _age(run) < _START_TIME:
        return run
    run = store.read(run.id)  # it may have ended properly between the two looks
    if not run.live:
        return run
    reason = _last_line(store.log_file(run.id))
    message = "The search process ended without finishing (killed, out of memory, or the machine restarted)."
    return store.finish(run.id, "failed", f"{message} {reason}".strip())


def cancel(store: RunStore, run_id: str) -> Run:
    """Stop a run at once, whatever it is computing, and mark it cancelled."""
    run = refresh(store, store.read(run_id))
    if not run.live:
        return run
    store.cancel_file(run_id).touch()
    process = None
    with suppress(ArtifactError):  # the file asks the process too, if more slowly
        process = store.process(run_id)
    if process is not None and is_alive(*process):
        _signal_group(process[0], signal.SIGTERM)
        if not _ends(process, _PATIENCE):
            # Python handles a signal between two bytecodes; a long tensor operation does not wait for that.
            _signal_group(process[0], signal.SIGKILL)
            _ends(process, _DEATH)
    return store.finish(run_id, "cancelled")


def _ends(process: tuple[int, str | None], seconds: float) -> bool:
    """Wait for a process to end; whether it did."""
    deadline = time.monotonic() + seconds
    while is_alive(*process):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def is_alive(pid: int, ticks: str | None) -> bool:
    """Whether this very process runs: a zombie does not, nor another one that was given the same pid."""
    now = start_ticks(pid)
    return now is not None and (ticks is None or now == ticks)


def start_ticks(pid: int) -> str | None:
    """When a process started, in the system's own words; None if there is none, or only a zombie."""
    # On Linux in ticks since the start of the system. psutil's `create_time` is of the clock there: once that is set
    # anew (a virtual machine that was paused), a living run would seem to be somebody else's process.
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The second field is the command in brackets and may hold spaces: count from after it.
            rest = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if rest[0] in "ZX" else rest[19]
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.NoSuchProcess:
        return None


def _age(run: Run) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(run.continued or run.created)).total_seconds()


def _signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _last_line(log: Path) -> str:
    try:
        lines = read_bytes(log, _LONGEST_LOG).decode("utf-8", errors="replace").strip().splitlines()
    except (FileNotFoundError, ContentError):
        return ""
    return f"Its last words: {lines[-1][:300]}" if lines else ""
