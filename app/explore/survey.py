"""Which edges of a circuit matter, found out behind the page. No Streamlit here: its calls belong to its threads.

First an estimate of all edges from one backward pass; then edges are left out in turn: those asked for, then the
strongest. Where all of them would take long, it rests after the strongest and a random sample, from which the share of
needed edges is told, and goes on when asked.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from discogp.evaluation.minimality import Effect, sample_order
from discogp.evaluation.uncertainty import rank_correlation, wilson

if TYPE_CHECKING:
    from discogp.circuits.circuit import Circuit
    from discogp.evaluation.first_order import FirstOrder

# One for all circuits: two at once on the same cores would both take twice as long.
_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="leave-one-out")

LONG = 60.0  # seconds; where all edges take longer, a sample is drawn
SEED = 0
_STRONGEST, _SAMPLE_LEAST, _SAMPLE_MOST = 24, 50, 400
_MEASURED_FIRST = 4
_AT_ONCE = 0.5  # seconds of work between two looks at what is wanted
_MOST_AT_ONCE = 64
_STAND_BACK = 0.05


class Session(Protocol):
    """What is asked of a circuit's session."""

    base: Circuit

    def first_order(self) -> FirstOrder: ...

    def effects(self, chunks: Iterator[Sequence[str]]) -> Iterator[tuple[Effect, ...]]: ...


@dataclass(frozen=True)
class Share:
    """The share of a circuit's edges that are needed, 0–1. `interval`, at 95 %, where it is told from a sample: `n`
    edges drawn at random. None where all were left out."""

    needed: float
    idle: int
    n: int
    interval: tuple[float, float] | None


class Survey:
    """One circuit's edges: not looked at, running, paused, resting, failed or all done. All visitors share it.

    `busy`: whether a visitor waits for the figures of a click, who comes first.
    """

    def __init__(self, session: Session, busy: Callable[[], bool] = lambda: False) -> None:
        self._session, self._busy = session, busy
        self._lock = threading.Lock()
        self._going = threading.Event()
        self._forget()

    def _forget(self) -> None:
        self.estimates: dict[str, float] = {}
        """First-order change of the logit difference without each edge, the strongest first; empty until known."""
        self.effects: dict[str, Effect] = {}
        """Of the edges left out so far."""
        self.running = False
        """Whether there is work under way, paused work too."""
        self._future: Future[None] | None = None
        self._estimating: Future[None] | None = None
        self._stop = threading.Event()
        self._asked: deque[str] = deque()
        self._everything = False
        self._seconds: float | None = None
        self._began = 0.0
        self._going.set()

    @property
    def edges(self) -> tuple[str, ...]:
        return self._session.base.edges

    @property
    def paused(self) -> bool:
        return self.running and not self._going.is_set()

    @property
    def begun(self) -> bool:
        return self._future is not None and self.error is None

    @property
    def complete(self) -> bool:
        """Whether every edge was left out."""
        return self.begun and not self.running and len(self.effects) == len(self.edges)

    @property
    def error(self) -> BaseException | None:
        """Why the last try failed."""
        return self._future.exception() if self._future is not None and self._future.done() else None

    @property
    def seconds_left(self) -> float | None:
        """How long leaving out all other edges will take, as far as is known."""
        return None if self._seconds is None else self._seconds * (len(self.edges) - len(self.effects))

    @property
    def share(self) -> Share | None:
        """Which share of the edges is needed, as far as one can tell; None before that."""
        effects = dict(self.effects)
        if len(effects) == len(self.edges):
            idle = sum(effect.idle for effect in effects.values())
            return Share(1 - idle / len(effects) if effects else 1.0, idle, len(effects), None)
        # As far as the random order has been followed, its edges are drawn at random, whichever others are known.
        drawn = []
        for name in sample_order(self._session.base, SEED):
            if name not in effects:
                break
            drawn.append(effects[name])
        if len(drawn) < _SAMPLE_LEAST // 2:
            return None
        idle = sum(effect.idle for effect in drawn)
        return Share(1 - idle / len(drawn), idle, len(drawn), wilson(len(drawn) - idle, len(drawn)))

    @property
    def agreement(self) -> float:
        """Rank correlation of estimated and exact change of the logit difference, of the edges left out so far."""
        effects = list(self.effects.values())
        return rank_correlation([self.estimates[e.edge] for e in effects], [e.logit_diff for e in effects])

    def estimate(self) -> None:
        """Find out the estimates alone. Returns at once; does nothing where they are known or under way."""
        with self._lock:
            if not self.estimates and self._estimating is None and not self.running:
                self._estimating = _pool.submit(self._estimate, self._stop)

    @property
    def estimating(self) -> bool:
        return not self.estimates and (self.running or (self._estimating is not None and not self._estimating.done()))

    @property
    def estimate_error(self) -> BaseException | None:
        """Why there are no estimates."""
        tried = self._estimating
        return None if self.estimates or tried is None or not tried.done() else tried.exception()

    def start(self) -> None:
        """Returns at once. Goes on where it rested or failed; does nothing while it runs or once all is done."""
        with self._lock:
            self._start()

    def everything(self) -> None:
        """Leave out every edge, however long that takes."""
        with self._lock:
            self._everything = True
            self._start()

    def ask(self, edges: Sequence[str]) -> None:
        """Leave out these before any others."""
        with self._lock:
            self._asked.extend(name for name in edges if name not in self.effects)
            self._going.set()
            self._start()

    def _start(self) -> None:
        if not self.running and not self.complete:
            self.running = True
            self._future = _pool.submit(self._work, self._stop, self.effects)

    def pause(self) -> None:
        """It stands still within a moment, until `go_on`."""
        self._going.clear()

    def go_on(self) -> None:
        self._going.set()

    def cancel(self) -> None:
        """It ends within a moment, what was found is forgotten, and it can be started anew."""
        with self._lock:
            self._stop.set()
            self._forget()

    def _estimate(self, stop: threading.Event) -> None:
        if self.estimates or stop.is_set():
            return
        found = self._session.first_order().by_name
        with self._lock:
            if not stop.is_set():
                self.estimates = found

    def _work(self, stop: threading.Event, effects: dict[str, Effect]) -> None:
        try:
            self._estimate(stop)
            if stop.is_set():
                return
            for some in self._session.effects(self._chunks(stop)):
                effects.update({effect.edge: effect for effect in some})
                now = time.monotonic()
                seconds, self._began = (now - self._began) / len(some), now
                self._seconds = seconds if self._seconds is None else 0.7 * self._seconds + 0.3 * seconds
        finally:
            with self._lock:
                if not stop.is_set():
                    self.running = False

    def _chunks(self, stop: threading.Event) -> Iterator[Sequence[str]]:
        """A few edges at a time, those that matter now; ends where it is stopped or nothing more is wanted."""
        while True:
            while not stop.is_set() and (self._busy() or not self._going.wait(_STAND_BACK)):
                time.sleep(_STAND_BACK)
            with self._lock:
                chunk = [] if stop.is_set() else self._next()
                if not chunk:
                    # Said at once: who asks for more from now on must start anew.
                    self.running = self.running and stop.is_set()
                    return
            self._began = time.monotonic()
            yield chunk

    def _next(self) -> list[str]:
        size = _MEASURED_FIRST
        if self._seconds is not None:
            size = max(2, min(_MOST_AT_ONCE, int(_AT_ONCE / max(self._seconds, 1e-6))))
        asked: list[str] = []
        while self._asked and len(asked) < size:
            if (name := self._asked.popleft()) not in self.effects and name not in asked:
                asked.append(name)
        if asked:
            return asked
        left = (name for name in self.estimates if name not in self.effects)
        # Until a few are done, nobody knows how long all would take.
        if self._everything or self._seconds is None or self._seconds * len(self.edges) <= LONG:
            return list(islice(left, size))
        strongest = [name for name in islice(self.estimates, _STRONGEST) if name not in self.effects]
        n = max(_SAMPLE_LEAST, min(_SAMPLE_MOST, int(LONG / self._seconds)))
        sample = [name for name in sample_order(self._session.base, SEED)[:n] if name not in self.effects]
        return (strongest or sample)[:size]
