"""Models at work behind the page: loaded in the background, shared by every visitor, few at a time.

The page shows a circuit's graph before its model is there; a single thread of this module loads models one
after the other, and whoever needs one looks at its future. No Streamlit here: its calls belong to its threads.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from cachetools import LRUCache

from app.explore.foreign_file import Taken, Wish, take
from app.explore.refining import Refiner
from app.explore.survey import Survey
from app.explore.workbench import Workbench
from discogp.circuits.circuit import Circuit
from discogp.errors import ConfigError

if TYPE_CHECKING:
    from discogp.engine.masked_transformer import MaskedTransformer
    from discogp.evaluation.session import AblationSession
    from discogp.methods.base import Estimate
    from discogp.prompts.task_check import TaskCheck
    from discogp.runs import RunSettings

K = TypeVar("K")


class _Cancellable(Protocol):
    def cancel(self) -> bool: ...


C = TypeVar("C", bound=_Cancellable)

_MODELS = 2
_WORKBENCHES = 4
_CHECKS = 512
_PROMPTS_CHECKED = 256


class _Check(NamedTuple):
    """A check of a task under way or done, and of which content of its file."""

    version: str
    future: Future[TaskCheck]

    def cancel(self) -> bool:
        return self.future.cancel()


class _Work(LRUCache[K, C]):
    """Work under way or done, the least recently asked for given up when there is too much."""

    def popitem(self) -> tuple[K, C]:
        key, work = super().popitem()
        work.cancel()
        return key, work


class Loader:
    """The background loader. Every method returns at once."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="models")
        self._lock = threading.Lock()
        self._models: LRUCache[str, MaskedTransformer] = LRUCache(_MODELS)
        self._workbenches: _Work[str, Future[Workbench]] = _Work(_WORKBENCHES)
        self._estimates: _Work[str, Future[Estimate]] = _Work(_WORKBENCHES)
        self._checks: _Work[tuple[str, ...], _Check] = _Work(_CHECKS)
        self._taken: _Work[tuple[Any, ...], Future[Taken]] = _Work(_WORKBENCHES)

    def workbench(self, key: str, circuit: Circuit) -> Future[Workbench]:
        """The workbench of a circuit, being made or made; `key` names the circuit. A failed one is tried anew."""
        with self._lock:
            future = self._workbenches.get(key)
            if future is None:
                future = self._workbenches[key] = self._pool.submit(self._make, circuit)
            return future

    def forget(self, key: str) -> None:
        """Make the next request for this circuit a new try."""
        with self._lock:
            self._workbenches.pop(key, None)

    def check(self, model: str, task: str, options: Mapping[str, Any], version: str = "") -> Future[TaskCheck]:
        """What a model makes of a task, being found out or known; `version` tells contents of one file apart."""
        key = _check_key(model, task, options)
        with self._lock:
            kept = self._checks.get(key)
            if kept is None or kept.version != version:
                kept = _Check(version, self._pool.submit(self._check, model, task, dict(options)))
                self._checks[key] = kept
            return kept.future

    def known_check(self, model: str, task: str, options: Mapping[str, Any]) -> Future[TaskCheck] | None:
        """The same, if somebody has asked already."""
        with self._lock:
            kept = self._checks.get(_check_key(model, task, options))
            return None if kept is None else kept.future

    def checking(self) -> bool:
        with self._lock:
            return any(not check.future.done() for check in self._checks.values())

    def checks_done(self) -> int:
        with self._lock:
            return sum(check.future.done() for check in self._checks.values())

    def take(self, wish: Wish) -> Future[Taken]:
        """A circuit file of another program, being read and scored or done."""
        with self._lock:
            future = self._taken.get(wish.key)
            if future is None:
                future = self._taken[wish.key] = self._pool.submit(take, wish, self._model)
            return future

    def estimate(self, settings: RunSettings) -> Future[Estimate]:
        """Memory and time that a search with these settings would take, being found out or known."""
        key = repr(settings)
        with self._lock:
            future = self._estimates.get(key)
            if future is None:
                future = self._estimates[key] = self._pool.submit(self._estimate, settings)
            return future

    def known_estimate(self, settings: RunSettings) -> Future[Estimate] | None:
        with self._lock:
            return self._estimates.get(repr(settings))

    def _estimate(self, settings: RunSettings) -> Estimate:
        from discogp.runs.search import ready

        return ready(settings, self._model(settings.model)).estimate()

    def _check(self, model: str, task: str, options: dict[str, Any]) -> TaskCheck:
        from discogp.prompts.task_check import check_task
        from discogp.tasks import get_task

        return check_task(self._model(model), get_task(task, **options), limit=_PROMPTS_CHECKED)

    def _make(self, circuit: Circuit) -> Workbench:
        from discogp.evaluation.session import AblationSession
        from discogp.prompts.prepare import restore

        name = circuit.provenance.get("model")
        if not isinstance(name, str):
            raise ConfigError("this circuit names no model, so it can be looked at but not run")
        model = self._model(name)
        data = restore(model, circuit.provenance)
        session = AblationSession(model, circuit, data.test)
        complement = _saved_complement(circuit, session) or session.complement.metrics.to_json()
        # Streamlit collects garbage after every run of a script, that is after every click, and the page waits for
        # it: a quarter of a second, once the libraries' million objects are loaded. Frozen, they are not looked at.
        gc.collect()
        gc.freeze()
        kept = (
            "all of them" if not data.only_known else f"the {data.kept_share:.1%} that the full model answers rightly"
        )
        notes = [f"{len(data.test)} test prompts ({kept}).", data.held_out, *(f"Note: {text}." for text in data.notes)]
        refiner = Refiner(session.refine, len(data.test))
        survey = Survey(session, lambda: refiner.busy)
        return Workbench(model, session, data.test, " ".join(notes), survey, complement, refiner, data.bos)

    def _model(self, name: str) -> MaskedTransformer:
        """Only ever called by the pool's one thread."""
        from discogp.engine.masked_transformer import load_model

        model = self._models.get(name)
        if model is None:
            while len(self._models) >= _MODELS:  # before the next one needs the memory
                self._models.popitem()
            model = self._models[name] = load_model(name)
        return model


def _saved_complement(circuit: Circuit, session: AblationSession) -> Mapping[str, Any] | None:
    """The complement's figures as the circuit's file has them, if its other figures are those computed here and now.

    A complement has nearly every edge: it takes longer than all else that stands between a visitor and a first click.
    """
    saved = circuit.provenance.get("metrics")
    if not isinstance(saved, Mapping):
        return None
    known = [saved.get(part) for part in ("full", "circuit", "complement")]
    full, kept, complement = (dict(part) if isinstance(part, Mapping) else {} for part in known)
    now = (session.full.metrics.to_json(), session.circuit.metrics.to_json())
    same = all(_close(then, figures) for then, figures in zip((full, kept), now, strict=True))
    return complement if same and set(complement) >= set(now[1]) else None


def _close(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether all of today's figures are those of then, up to what another machine's rounding makes of them."""
    return all(
        isinstance(then.get(name), (int, float)) and abs(then[name] - value) <= 1e-3 * max(1.0, abs(value))
        for name, value in now.items()
    )


def _check_key(model: str, task: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    return (model, task, *(f"{name}={value}" for name, value in sorted(options.items())))
