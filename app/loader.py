"""Models at work behind the page: loaded in the background, shared by every visitor, few at a time.

The page shows a circuit's graph before its model is there; loads, checks and estimates are jobs of one queue, and
whoever needs a result looks at its future. No Streamlit here: its calls belong to its threads.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cachetools import LRUCache

from app import libraries
from app.explore.foreign_file import Taken, Wish, take
from app.explore.read_file import read_file
from app.explore.refining import Refiner
from app.explore.survey import Survey
from app.explore.workbench import Workbench
from app.jobs import Job, Jobs
from discogp.circuits.circuit import Circuit
from discogp.circuits.measures import measures
from discogp.errors import ConfigError
from discogp.models.registry import find

if TYPE_CHECKING:
    from discogp.engine.masked_transformer import MaskedTransformer
    from discogp.methods.base import Estimate
    from discogp.prompts.task_check import TaskCheck
    from discogp.runs import RunSettings

K = TypeVar("K")


_MODELS = 2
_WORKBENCHES = 4
_CHECKS = 512
_PROMPTS_CHECKED = 256
_PASS_MB = 500.0
"""What checks and figures take beside the models: a pass over a batch, and the answers."""


class _Work(LRUCache[K, Job]):
    """Work under way or done; the least recently asked for is given up when there is too much."""

    def __init__(self, most: int, jobs: Jobs) -> None:
        super().__init__(most)
        self._jobs = jobs

    def popitem(self) -> tuple[K, Job]:
        key, job = super().popitem()
        self._jobs.cancel(job)
        return key, job

    def wanted(self, key: K) -> Job | None:
        """What was asked for and not cancelled since."""
        job = self.get(key)
        return None if job is None or job.stop.is_set() else job


class _Workbenches(_Work[str]):
    def __init__(self, most: int, jobs: Jobs) -> None:
        super().__init__(most, jobs)
        self.given_up: list[Job] = []
        """Until their memory is seen to."""

    def popitem(self) -> tuple[str, Job]:
        key, job = super().popitem()
        self.given_up.append(job)
        return key, job


class Loader:
    """Models and what is computed with them, in the background. Every method returns at once."""

    def __init__(self) -> None:
        self.jobs = Jobs(self._may_join)
        self._lock = threading.Lock()
        self._models_lock = threading.Lock()
        self._models: LRUCache[str, MaskedTransformer] = LRUCache(_MODELS)
        self._loading: dict[str, threading.Lock] = {}
        self._workbenches = _Workbenches(_WORKBENCHES, self.jobs)
        self._estimates: _Work[str] = _Work(_WORKBENCHES, self.jobs)
        self._checks: _Work[tuple[str, ...]] = _Work(_CHECKS, self.jobs)
        self._taken: _Work[tuple[Any, ...]] = _Work(_WORKBENCHES, self.jobs)

    def _asked(self, work: _Work[K], key: K, title: str, do: Callable[[], Any], model: str) -> Job:
        with self._lock:
            job = work.get(key)
            if job is None:
                job = work[key] = self.jobs.submit(title, do, model)
            return job

    def workbench(self, key: str, circuit: Circuit) -> Future[Workbench]:
        """The workbench of a circuit, being made or made; `key` names the circuit. A failed one is tried anew."""
        model = circuit.provenance.get("model")
        title = f"Loading {model} for {circuit.provenance.get('task') or 'a circuit'}"
        name = canonical(model) if isinstance(model, str) else ""
        return self._asked(self._workbenches, key, title, partial(self._make, circuit), name).future

    def give_back(self) -> None:
        """What circuits keep between clicks, since a search needs the memory now; not of those at work."""
        with self._lock:
            jobs = tuple(self._workbenches.values())
        self._rest(*_made(jobs))

    def forget(self, key: str) -> None:
        """Make the next request for this circuit a new try."""
        with self._lock:
            self._workbenches.pop(key, None)

    def check(self, model: str, task: str, options: Mapping[str, Any], version: str = "") -> Future[TaskCheck]:
        """What a model makes of a task, being found out or known; `version` tells contents of one file apart."""
        key = _check_key(model, task, options)
        with self._lock:
            job = self._checks.wanted(key)
            if job is None or job.version != version:
                do = partial(self._check, model, task, dict(options))
                job = self.jobs.submit(f"Checking {task} with {model}", do, canonical(model), version)
                self._checks[key] = job
            return job.future

    def known_check(self, model: str, task: str, options: Mapping[str, Any]) -> Future[TaskCheck] | None:
        """The same, if somebody has asked already."""
        with self._lock:
            job = self._checks.wanted(_check_key(model, task, options))
            return None if job is None else job.future

    def checking(self) -> bool:
        with self._lock:
            return any(not job.future.done() for job in self._checks.values())

    def checks_done(self) -> int:
        with self._lock:
            return sum(job.future.done() for job in self._checks.values())

    def take(self, wish: Wish) -> Future[Taken]:
        """A circuit file of another program, being read and scored or done."""
        do = partial(self._take, wish)
        return self._asked(self._taken, wish.key, f"Scoring {wish.name}", do, canonical(wish.model)).future

    def read(self, upload: str, content: bytes, name: str) -> Future[Circuit]:
        """A circuit file, being read or read; `upload` tells it from every other. DiscoGPError for one that is none."""
        key = ("read", upload)
        return self._asked(self._taken, key, f"Reading {name}", partial(read_file, content, name), "").future

    def estimate(self, settings: RunSettings) -> Future[Estimate]:
        """Memory and time that a search with these settings would take, being found out or known."""
        key = repr(settings)
        with self._lock:
            job = self._estimates.wanted(key)
            if job is None:
                title = f"Estimating a search for {settings.task} in {settings.model}"
                do = partial(self._estimate, settings)
                job = self._estimates[key] = self.jobs.submit(title, do, canonical(settings.model))
            return job.future

    def known_estimate(self, settings: RunSettings) -> Future[Estimate] | None:
        with self._lock:
            job = self._estimates.wanted(repr(settings))
            return None if job is None else job.future

    def _begin(self) -> None:
        """Of a job that needs a model: before the libraries are there, nothing else may begin."""
        libraries.load()
        self.jobs.look_again()

    def _estimate(self, settings: RunSettings) -> Estimate:
        self._begin()
        from discogp.runs.search import ready

        return ready(settings, self._model(settings.model)).estimate()

    def _check(self, model: str, task: str, options: dict[str, Any]) -> TaskCheck:
        self._begin()
        from discogp.prompts.task_check import check_task
        from discogp.tasks import get_task

        return check_task(self._model(model), get_task(task, **options), limit=_PROMPTS_CHECKED)

    def _take(self, wish: Wish) -> Taken:
        self._begin()
        return take(wish, self._model)

    def _make(self, circuit: Circuit) -> Workbench:
        self._begin()
        self._let_go()
        from discogp.evaluation.session import AblationSession
        from discogp.prompts.prepare import proven, restore

        name = circuit.provenance.get("model")
        if not isinstance(name, str):
            raise ConfigError("this circuit names no model, so it can be looked at but not run")
        model = self._model(name)
        data = restore(model, circuit.provenance)
        session = AblationSession(model, circuit, data.test)
        saved = _saved_figures(circuit) if proven(model, data, circuit.provenance) else None
        n = len(data.test) if saved is None else 1  # of the first prompts a first click finds what it builds on
        session.full_on(n)
        session.circuit_on(n)
        if saved is None:
            _ = session.complement  # so that no visitor's thread has to compute it
        libraries.settle()
        kept = (
            "all of them" if not data.only_known else f"the {data.kept_share:.1%} that the full model answers rightly"
        )
        notes = [f"{len(data.test)} test prompts ({kept}).", *(f"Note: {text}." for text in data.notes)]
        refiner = Refiner(session.refine, len(data.test), lambda: self._rest(this()))
        survey = Survey(session, lambda: refiner.busy)
        made = Workbench(
            model, session, data.test, " ".join(notes), survey, refiner, saved, data.bos, held_out=data.held_out
        )
        this = weakref.ref(made)  # a circle would outlive its giving up
        return made

    def _let_go(self) -> None:
        """What circuits that were given up keep between clicks is much, and is needed now."""
        with self._lock:
            gone, self._workbenches.given_up = self._workbenches.given_up, []
        if gone:
            _end(gone)
            gone.clear()  # the last that holds them
            libraries.release()

    @staticmethod
    def _rest(*workbenches: Workbench | None) -> bool:
        rested = [one.rest() for one in workbenches if one is not None]
        if any(rested):
            libraries.trim()
        return all(rested)

    def _model(self, name: str) -> MaskedTransformer:
        """Loaded once, however many jobs ask for it at once."""
        from discogp.engine.masked_transformer import load_model

        name = canonical(name)
        with self._models_lock:
            alone = self._loading.setdefault(name, threading.Lock())
        with alone:
            with self._models_lock:
                model, full = self._models.get(name), len(self._models) >= _MODELS
                if model is None and full:  # before the next one needs the memory
                    self._models.popitem()
            if model is None:
                if full:
                    libraries.release()
                model = load_model(name)
                libraries.settle()
                with self._models_lock:
                    self._models[name] = model
        self.jobs.look_again()
        return model

    def _may_join(self, job: Job, running: tuple[Job, ...]) -> bool:
        """Whether a job may begin beside another: not to load the same model twice, nor without memory for both."""
        if not libraries.there():
            return False
        from discogp.engine.memory import available_mb

        with self._models_lock:
            known = set(self._models)
        if job.model and job.model not in known and any(job.model == other.model for other in running):
            return False
        new = {one.model for one in (job, *running)} - known - {""}
        # What is known takes some for a pass; what runs may have taken its own already, which errs to the safe side.
        needed = sum(map(loading_mb, new)) + _PASS_MB * (1 + len(running))
        return needed <= available_mb(libraries.cpu())


def canonical(model: str) -> str:
    """One name for a model that is known by several."""
    known = find(model)
    return model if known is None else known.name


def loading_mb(model: str) -> float:
    """Memory that loading a model takes at most, in MB: its weights in fp32, as read, as cut up and as folded.

    Infinite for a model whose size is not known before it is loaded: nothing else begins beside it.
    """
    known = find(model)
    if known is not None:
        return 3 * 4 * known.n_params / 2**20
    try:
        stored = sum(file.stat().st_size for file in Path(model).expanduser().glob("*.safetensors"))
    except (OSError, RuntimeError, ValueError):
        stored = 0
    return 3 * 2 * stored / 2**20 if stored else float("inf")  # stored in two bytes a number at the least


def _made(jobs: Iterable[Job]) -> list[Any]:
    """What those of these jobs have made that have ended well."""
    futures = [job.future for job in jobs]
    return [one.result() for one in futures if one.done() and not one.cancelled() and one.exception() is None]


def _end(jobs: Iterable[Job]) -> None:
    """Workbenches that nobody will ask again give back what they keep."""
    for workbench in _made(jobs):
        workbench.refiner.end()
        workbench.session.release()


def _saved_figures(circuit: Circuit) -> Mapping[str, Mapping[str, Any]] | None:
    """The figures of full model, circuit and complement in the circuit's file, if all of them are there.

    Computing them takes longer than all else that stands between a visitor and a first click.
    """
    saved = circuit.provenance.get("metrics")
    if not isinstance(saved, Mapping):
        return None
    known = {part: saved.get(part) for part in ("full", "circuit", "complement")}
    wanted = {measure.name for measure in measures()}
    there = all(isinstance(of, Mapping) and wanted <= set(of) for of in known.values())
    return known if there else None  # type: ignore[return-value]  # just checked


def _check_key(model: str, task: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    return (model, task, *(f"{name}={value}" for name, value in sorted(options.items())))
