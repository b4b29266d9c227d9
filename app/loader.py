"""Models at work behind the page: loaded in the background, shared by every visitor, few at a time.

The page shows a circuit's graph before its model is there; a single thread of this module loads models one
after the other, and whoever needs one looks at its future. No Streamlit here: its calls belong to its threads.
"""

from __future__ import annotations

import gc
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.explore.survey import Survey
from discogp.circuits.circuit import Circuit
from discogp.errors import ConfigError

if TYPE_CHECKING:
    from discogp.engine.masked_transformer import MaskedTransformer
    from discogp.evaluation.outcome import Outcome
    from discogp.evaluation.positions import Position
    from discogp.evaluation.session import AblationSession
    from discogp.methods.base import Estimate
    from discogp.prompts.task_check import TaskCheck
    from discogp.runs import RunSettings

_MODELS = 2
_BENCHES = 4
_OUTCOMES = 64
_CHECKS = 512
_PROMPTS_CHECKED = 256


@dataclass(frozen=True)
class Bench:
    """A circuit with its model and test prompts, ready to be run without some of its edges."""

    model: MaskedTransformer
    session: AblationSession
    prompts: Any
    note: str
    survey: Survey
    lock: threading.Lock = field(default_factory=threading.Lock)
    times: list[float] = field(default_factory=list)
    known: OrderedDict[frozenset[str], Outcome] = field(default_factory=OrderedDict)

    def without(self, names: Iterable[str]) -> Outcome:
        """The circuit without these edges and nodes; what was asked before (undo, a second look) is remembered.

        One at a time: two visitors at once on the same cores would both wait longer.
        """
        key = frozenset(names)
        with self.lock:
            outcome = self.known.pop(key, None)
            if outcome is None:
                began = time.monotonic()
                outcome = self.session.without(key)
                self.times[:] = [time.monotonic() - began]
            self.known[key] = outcome
            while len(self.known) > _OUTCOMES:
                self.known.popitem(last=False)
            return outcome

    def positions(self, prompt: int | str, names: Iterable[str]) -> list[Position]:
        """What full model and circuit predict at every position: of one of the prompts, or of somebody's own text."""
        from discogp.evaluation.positions import positions, prompt_ids

        model, counterfactual = self.model, None
        if isinstance(prompt, str):
            tokens = prompt_ids(prompt, model.tokenizer, model.bos_id)
        else:
            one = self.prompts.subset([prompt])
            tokens, counterfactual = one.tokens, one.counterfactual
        with self.lock:
            full, circuit = self.session.at_every_position(tokens, counterfactual, names)
        return positions(tokens[0].tolist(), full[0], circuit[0], model.tokenizer)

    @property
    def slow(self) -> bool:
        """Whether the last run took so long that somebody waiting should be told."""
        return bool(self.times) and self.times[0] > 0.7

    def word(self, token: int) -> str:
        tokenizer = self.model.tokenizer
        return str(token) if tokenizer is None else tokenizer.decode([token])


class Engine:
    """The background loader. Every method returns at once."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="models")
        self._lock = threading.Lock()
        self._models: OrderedDict[str, MaskedTransformer] = OrderedDict()
        self._benches: OrderedDict[str, Future[Bench]] = OrderedDict()
        self._estimates: OrderedDict[str, Future[Estimate]] = OrderedDict()
        self._checks: OrderedDict[tuple[str, ...], tuple[str, Future[TaskCheck]]] = OrderedDict()

    def bench(self, key: str, circuit: Circuit) -> Future[Bench]:
        """The bench of a circuit, being made or made; `key` names the circuit. A failed one is tried anew."""
        with self._lock:
            future = self._benches.pop(key, None)
            if future is None:
                future = self._pool.submit(self._make, circuit)
            self._benches[key] = future
            while len(self._benches) > _BENCHES:
                self._benches.popitem(last=False)[1].cancel()
            return future

    def forget(self, key: str) -> None:
        """Make the next request for this circuit a new try."""
        with self._lock:
            self._benches.pop(key, None)

    def check(self, model: str, task: str, options: Mapping[str, Any], version: str = "") -> Future[TaskCheck]:
        """What a model makes of a task, being found out or known; `version` tells contents of one file apart."""
        key = _check_key(model, task, options)
        with self._lock:
            kept = self._checks.get(key)
            if kept is None or kept[0] != version:
                kept = self._checks[key] = (version, self._pool.submit(self._check, model, task, dict(options)))
            while len(self._checks) > _CHECKS:
                self._checks.popitem(last=False)[1][1].cancel()
            return kept[1]

    def known_check(self, model: str, task: str, options: Mapping[str, Any]) -> Future[TaskCheck] | None:
        """The same, if somebody has asked already."""
        with self._lock:
            kept = self._checks.get(_check_key(model, task, options))
            return None if kept is None else kept[1]

    def checking(self) -> bool:
        with self._lock:
            return any(not future.done() for _, future in self._checks.values())

    def checks_done(self) -> int:
        with self._lock:
            return sum(future.done() for _, future in self._checks.values())

    def estimate(self, settings: RunSettings) -> Future[Estimate]:
        """Memory and time that a search with these settings would take, being found out or known."""
        key = repr(settings)
        with self._lock:
            future = self._estimates.pop(key, None) or self._pool.submit(self._estimate, settings)
            self._estimates[key] = future
            while len(self._estimates) > _BENCHES:
                self._estimates.popitem(last=False)[1].cancel()
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

    def _make(self, circuit: Circuit) -> Bench:
        from discogp.evaluation.session import AblationSession
        from discogp.prompts.prepare import restore

        name = circuit.provenance.get("model")
        if not isinstance(name, str):
            raise ConfigError("this circuit names no model, so it can be looked at but not run")
        model = self._model(name)
        data = restore(model, circuit.provenance)
        session = AblationSession(model, circuit, data.test)
        _ = (session.circuit, session.complement)  # computed now, not at the first click
        # Streamlit collects garbage after every run of a script, that is after every click, and the page waits for
        # it: a quarter of a second, once the libraries' million objects are loaded. Frozen, they are not looked at.
        gc.collect()
        gc.freeze()
        kept = (
            "all of them" if not data.only_known else f"the {data.kept_share:.1%} that the full model answers rightly"
        )
        notes = [f"{len(data.test)} test prompts ({kept}).", data.held_out, *(f"Note: {text}." for text in data.notes)]
        return Bench(model, session, data.test, " ".join(notes), Survey(session.leave_one_out))

    def _model(self, name: str) -> MaskedTransformer:
        """Only ever called by the pool's one thread."""
        from discogp.engine.masked_transformer import load_model

        if name not in self._models:
            while len(self._models) >= _MODELS:
                self._models.popitem(last=False)
            self._models[name] = load_model(name)
        self._models.move_to_end(name)
        return self._models[name]


def _check_key(model: str, task: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    return (model, task, *(f"{name}={value}" for name, value in sorted(options.items())))
