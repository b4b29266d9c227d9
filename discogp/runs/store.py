"""One run = one folder: settings, state, progress and, at the end, the circuit.

    runs/<id>/run.json        settings whole (model, task, config, versions) and the run's state
    runs/<id>/process.json    which process computes it
    runs/<id>/progress.jsonl  one event a line, in the order of the search
    runs/<id>/circuit/        the best circuit, with its evaluation on the test split (state `done` only)
    runs/<id>/circuit-last/   the circuit after the last step
    runs/<id>/checkpoint      where a search that was interrupted can go on
    runs/<id>/worker.log      what the process wrote; read it when a run failed

Needs neither torch nor a model. Writes are atomic (a temporary file, then a rename), so that a reader never
sees half a file, whenever the writer was killed.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from discogp import paths
from discogp.errors import ArtifactError
from discogp.terms import Bos
from discogp.versions import versions

State = Literal["queued", "running", "done", "failed", "cancelled"]
STATES: tuple[str, ...] = get_args(State)
LIVE = ("queued", "running")

_RUN_FILE = "run.json"
_PROCESS_FILE = "process.json"
_PROGRESS_FILE = "progress.jsonl"
_CANCEL_FILE = "cancel"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class RunSettings:
    """What to search, and how: enough to repeat it. `config`: the method's settings, as plain data."""

    model: str
    task: str
    config: Mapping[str, Any]
    task_options: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    only_known: bool = True
    device: str = "cpu"
    method: str = "discogp"
    bos: Bos | None = None
    few_prompts: bool = False
    """Whether to search though the prompts are too few for figures that mean something."""


@dataclass(frozen=True)
class Run:
    """A run as its folder tells it. Times are ISO 8601 in UTC."""

    id: str
    settings: RunSettings
    created: str
    state: State = "queued"
    finished: str | None = None
    error: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    continued: str | None = None
    """When the run was last put in the queue again after an interruption."""

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def seed(self) -> int | None:
        return self.settings.config.get("seed")


@dataclass(frozen=True)
class Unreadable:
    """A folder among the runs that is none, or a broken one, and why."""

    id: str
    reason: str


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
        return run.state in ("failed", "cancelled") and self.checkpoint(run.id).is_file()

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
        write_json(self.folder(run.id) / _RUN_FILE, asdict(run))

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
        path = self.folder(run_id) / _RUN_FILE
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            settings = RunSettings(**_known(RunSettings, data["settings"]))
            run = Run(**{**_known(Run, data), "settings": settings, "id": run_id})
        except FileNotFoundError:
            raise ArtifactError(f"{path.parent.name} holds no {_RUN_FILE}: it is not a run") from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{_RUN_FILE} of {run_id} cannot be read ({type(error).__name__}: {error})") from error
        if run.state not in STATES or not isinstance(run.settings.config, dict):
            raise ArtifactError(f"{_RUN_FILE} of {run_id} has state {run.state!r}; allowed: {', '.join(STATES)}")
        return run

    def list(self) -> tuple[Run | Unreadable, ...]:
        """Newest first; whatever cannot be read is told as such and hides nothing else."""
        if not self.root.is_dir():
            return ()
        found: list[Run | Unreadable] = []
        for folder in self.root.iterdir():
            if folder.name.startswith(".") or not folder.is_dir():
                continue
            try:
                found.append(self.read(folder.name))
            except ArtifactError as error:
                found.append(Unreadable(folder.name, str(error)))
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
        """(pid, when that process started, which tells a reused pid apart); None before the start."""
        try:
            data = json.loads((self.folder(run_id) / _PROCESS_FILE).read_text(encoding="utf-8"))
            return int(data["pid"]), data["started"]
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, ValueError):
            return None

    def append_event(self, run_id: str, event: Mapping[str, Any]) -> None:
        with (self.folder(run_id) / _PROGRESS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(event, allow_nan=False) + "\n")
            file.flush()

    def forget_events_after(self, run_id: str, step: int) -> None:
        """Drop the events of later steps, which are about to be computed again."""
        kept = [event for event in self.events(run_id) if not (event.get("total_steps") and event["step"] > step)]
        text = "".join(json.dumps(event, allow_nan=False) + "\n" for event in kept)
        _write(self.folder(run_id) / _PROGRESS_FILE, text)

    def events(self, run_id: str) -> tuple[dict[str, Any], ...]:
        """Every whole event so far; a last line that is still being written is left for the next read."""
        try:
            text = (self.folder(run_id) / _PROGRESS_FILE).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ()
        events = []
        for line in text.splitlines():
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(event, dict):
                events.append(event)
        return tuple(events)


def write_json(path: Path, data: Any) -> None:
    """Atomically: a reader sees the old file or the new one."""
    _write(path, json.dumps(data, indent=2, allow_nan=False))


def _write(path: Path, text: str) -> None:
    with paths.replaced_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _known(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """Only the fields that this version knows, so that a folder of a later version still opens."""
    names = {f.name for f in fields(kind)}
    return {name: value for name, value in data.items() if name in names}
