"""One run = one folder: settings, state, progress and, at the end, the circuit.

    runs/<id>/run.json        settings whole (model, task, config, versions) and the run's state
    runs/<id>/process.json    which process computes it
    runs/<id>/progress.jsonl  one event a line, in the order of the search
    runs/<id>/circuit/        the best circuit, with its evaluation on the test split (state `done` only)
    runs/<id>/circuit-last/   the circuit after the last step
    runs/<id>/checkpoint      where a search that was interrupted can go on
    runs/<id>/worker.log      what the process wrote; read it when a run failed

Needs neither torch nor a model. Writes are atomic (a temporary file, then a rename), so that a reader never
sees half a file, whenever the writer was killed. Every file, and every line of progress, carries its checksum;
types are checked on reading (`records`). What is wrong with one run is told of that run and hides no other.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from discogp import paths
from discogp.errors import ArtifactError, ContentError, brief
from discogp.reading import Seal, as_text, checked, parse_json, read_bytes, read_text, sealed, unsealed
from discogp.runs.records import PROCESS, RUN, STATES, Run, RunSettings, State, Unreadable, check_event
from discogp.versions import versions

__all__ = ["STATES", "Log", "Run", "RunSettings", "RunStore", "Unreadable", "write_json"]

_MOST_BYTES = 16 * 2**20
_MOST_BYTES_OF_PROGRESS = 256 * 2**20
_RUN_FILE = "run.json"
_PROCESS_FILE = "process.json"
_PROGRESS_FILE = "progress.jsonl"
_CANCEL_FILE = "cancel"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Log:
    """The events of a search in their order, and what there is to say of lines that are none."""

    events: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()


class RunStore:
    """All runs below one folder (by default `discogp.paths.home()/runs`)."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else paths.home() / "runs"

    def folder(self, run_id: str) -> Path:
        """The run's folder; ArtifactError for an id that could point anywhere else."""
        if not _ID.fullmatch(run_id):
            raise ArtifactError(f"{run_id!r} is no run id; ids are letters, digits, '.', '_' and '-'")
        return self.root / run_id

    def circuit_folder(self, run_id: str) -> Path:
        return self.folder(run_id) / "circuit"

    def checkpoint(self, run_id: str) -> Path:
        return self.folder(run_id) / "checkpoint"

    def can_continue(self, run: Run) -> bool:
        """Whether the run was interrupted (cancelled, killed, failed) and has a checkpoint to go on from."""
        return run.state in ("failed", "cancelled") and os.path.isfile(self.checkpoint(run.id))

    def log_file(self, run_id: str) -> Path:
        return self.folder(run_id) / "worker.log"

    def create(self, settings: RunSettings) -> Run:
        """A new run in state `queued`, its folder written."""
        now = datetime.now(UTC)
        stem = re.sub(r"[^A-Za-z0-9]+", "-", f"{Path(settings.model).name}-{settings.task}").strip("-").lower()
        run_id = f"{now:%Y%m%d-%H%M%S}-{stem[:40]}-{secrets.token_hex(2)}"
        run = Run(id=run_id, settings=settings, created=now.isoformat(timespec="seconds"), versions=versions())
        self.folder(run_id).mkdir(parents=True)
        self.write(run)
        return run

    def write(self, run: Run) -> None:
        content = asdict(run)
        del content["notes"]
        write_json(self.folder(run.id) / _RUN_FILE, content)

    def update(self, run_id: str, **changes: Any) -> Run:
        """Write some fields anew and return the run as it is now."""
        run = replace(self.read(run_id), **changes)
        self.write(run)
        return run

    def finish(self, run_id: str, state: State, error: str | None = None) -> Run:
        """Enter a final state, unless the run is in one already: the first word is the last."""
        run = self.read(run_id)
        if not run.live:
            return run
        return self.update(run_id, state=state, error=error, finished=datetime.now(UTC).isoformat(timespec="seconds"))

    def requeue(self, run_id: str) -> Run:
        """Put an interrupted run in the queue again. ArtifactError if it has nothing to go on from."""
        run = self.read(run_id)
        if not self.can_continue(run):
            raise ArtifactError(f"{run_id} cannot be continued: it is {run.state} and has no checkpoint; start it anew")
        (self.folder(run_id) / _CANCEL_FILE).unlink(missing_ok=True)
        (self.folder(run_id) / _PROCESS_FILE).unlink(missing_ok=True)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return self.update(run_id, state="queued", error=None, finished=None, continued=now)

    def cancel_file(self, run_id: str) -> Path:
        """Its presence asks the worker to stop."""
        return self.folder(run_id) / _CANCEL_FILE

    def read(self, run_id: str) -> Run:
        """ArtifactError if the folder is missing or no run."""
        try:
            data, seal = self._content(run_id, _RUN_FILE)
            run = checked(RUN, {**data, "id": run_id, "notes": ()})
            if seal is Seal.BROKEN:
                raise ContentError(seal.value)
        except FileNotFoundError:
            raise ArtifactError(f"{run_id} holds no {_RUN_FILE}: it is not a run") from None
        except ContentError as error:
            raise ArtifactError(f"{_RUN_FILE} of {run_id} cannot be read: {error}") from error
        return run if seal is Seal.WHOLE else replace(run, notes=(f"{_RUN_FILE}: {seal.value}",))

    def _content(self, run_id: str, name: str) -> tuple[dict[str, Any], Seal]:
        found = parse_json(read_text(self.folder(run_id) / name, _MOST_BYTES))
        if not isinstance(found, dict):
            raise ContentError(f"it is {brief(found)}; an object is needed")
        return unsealed(found)

    def list(self) -> tuple[Run | Unreadable, ...]:
        """Newest first; whatever cannot be read is told as such and hides nothing else."""
        try:
            names = sorted(os.listdir(self.root))
        except FileNotFoundError:
            return ()
        except OSError as error:
            return (Unreadable(str(self.root), f"the runs cannot be listed: {error.strerror or error}"),)
        found: list[Run | Unreadable] = []
        for name in names:
            place = self.root / name
            if name.startswith(".") or not (os.path.isdir(place) or os.path.islink(place)):
                continue
            try:
                found.append(self.read(name))
            except ArtifactError as error:
                found.append(Unreadable(name, str(error)))
        return tuple(sorted(found, key=lambda run: (getattr(run, "created", ""), run.id), reverse=True))

    def delete(self, run_id: str) -> None:
        """Remove the folder of a run that has ended. ArtifactError while it is live."""
        try:
            live = self.read(run_id).live
        except ArtifactError:
            live = False
        if live:
            raise ArtifactError(f"{run_id} is still running; cancel it before deleting it")
        shutil.rmtree(self.folder(run_id))

    def write_process(self, run_id: str, pid: int, started: str | None) -> None:
        """Who computes the run. A file of its own: the starter writes it while the worker writes the state."""
        write_json(self.folder(run_id) / _PROCESS_FILE, {"pid": pid, "started": started})

    def process(self, run_id: str) -> tuple[int, str | None] | None:
        """(pid, when that process started, which tells a reused pid apart); None before the start.

        ArtifactError where that cannot be told.
        """
        try:
            data, seal = self._content(run_id, _PROCESS_FILE)
            process = checked(PROCESS, data)
            if seal is Seal.BROKEN:
                raise ContentError(seal.value)
        except FileNotFoundError:
            return None
        except ContentError as error:
            raise ArtifactError(f"{_PROCESS_FILE} of {run_id} cannot be read: {error}") from error
        return process["pid"], process["started"]

    def append_event(self, run_id: str, event: Mapping[str, Any]) -> None:
        with (self.folder(run_id) / _PROGRESS_FILE).open("ab+") as file:
            # A process that was killed may have left half a line, which must not take this one with it.
            if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                file.write(b"\n")
            file.write(_line(event).encode("ascii"))

    def forget_events_after(self, run_id: str, step: int) -> None:
        """Drop the events of later steps, which are about to be computed again."""
        kept = [event for event in self.events(run_id) if not (event.get("total_steps") and event["step"] > step)]
        _write(self.folder(run_id) / _PROGRESS_FILE, "".join(map(_line, kept)))

    def events(self, run_id: str) -> tuple[dict[str, Any], ...]:
        """Every whole event so far; a last line that is still being written is left for the next read."""
        return self.log(run_id).events

    def log(self, run_id: str) -> Log:
        """The same with what there is to say of lines that are no events."""
        path = self.folder(run_id) / _PROGRESS_FILE
        try:
            status = os.stat(path)
            return _read_log(path, status.st_mtime_ns, status.st_size)
        except FileNotFoundError:
            return Log()
        except (OSError, ContentError) as error:
            return Log(notes=(f"{_PROGRESS_FILE} cannot be read: {getattr(error, 'strerror', None) or error}",))


@lru_cache(maxsize=64)
def _read_log(path: Path, _changed: int, _size: int) -> Log:
    """Once for each state of the file: the page asks for every run each time it is drawn."""
    lines = read_bytes(path, _MOST_BYTES_OF_PROGRESS).split(b"\n")[:-1]
    events, problems, unmarked = [], [], 0
    for number, line in enumerate(lines, start=1):
        try:
            event = parse_json(as_text(line))
            if not isinstance(event, dict):
                raise ContentError(f"it is {brief(event)}; an object is needed")
            event, seal = unsealed(event)
            check_event(event)
            if seal is Seal.BROKEN:
                raise ContentError("it is damaged: its checksum is that of another content")
            unmarked += seal is Seal.NONE
            events.append(event)
        except ContentError as error:
            problems.append(f"line {number}: {error}")
    total, notes = f"of {len(lines):,} lines of {_PROGRESS_FILE}", []
    if problems:
        notes.append(f"{len(problems):,} {total} cannot be read and are left out; {problems[0]}")
    if unmarked:
        notes.append(f"{unmarked:,} {total} have no checksum, so damage to them cannot be told")
    return Log(tuple(events), tuple(notes))


def _line(event: Mapping[str, Any]) -> str:
    return json.dumps(sealed(event), allow_nan=False) + "\n"


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Atomically, with its checksum: a reader sees the old file or the new one."""
    _write(path, json.dumps(sealed(data), indent=2, allow_nan=False))


def _write(path: Path, text: str) -> None:
    with paths.replaced_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
