"""Long work behind the page in one queue: what runs, what waits, in which order, and how it is stopped.

At most two at a time, the second only where the loader says that it may join; clicks come first: while one is being
answered, work pauses between its steps. No Streamlit here: its calls belong to its threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal, TypeVar

from discogp.errors import DiscoGPError

State = Literal["waiting", "running", "stopping", "done", "failed", "cancelled"]
T = TypeVar("T")

MOST_AT_ONCE = 2
_LOOK = 0.5  # seconds: how soon paused work notices that it is not wanted any more


class CancelledError(DiscoGPError):
    """The work was stopped by somebody who no longer wanted it."""


@dataclass(eq=False)
class Job:
    """A piece of work. `model`: the name of the one that it needs, empty for none. `began`: by `time.monotonic`."""

    number: int
    title: str
    model: str
    work: Callable[[], Any] = field(repr=False)
    version: str = ""
    """Tells contents of one file apart."""
    state: State = "waiting"
    began: float | None = None
    future: Future[Any] = field(default_factory=Future, repr=False)
    stop: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def over(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return 0.0 if self.began is None else time.monotonic() - self.began


def _cancelled(job: Job) -> CancelledError:
    return CancelledError(f"{job.title!r} was cancelled; ask for it again to start it anew")


class _Clicks:
    """How many clicks are being answered at this moment, on any circuit."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._now = 0

    @contextmanager
    def first(self) -> Iterator[None]:
        with self._changed:
            self._now += 1
        try:
            yield
        finally:
            with self._changed:
                self._now -= 1
                self._changed.notify_all()

    def give_way(self, job: Job) -> None:
        """Between two steps of a job: wait while a click is answered. CancelledError where nobody wants it."""
        with self._changed:
            while self._now and not job.stop.is_set():
                self._changed.wait(_LOOK)
        if job.stop.is_set():
            raise _cancelled(job)


_clicks = _Clicks()
clicks_first = _clicks.first
"""`with clicks_first():` around what a visitor waits for: queued work pauses meanwhile."""


class Jobs:
    """The queue. Threads live only while there is work, so that none holds up the end of the program.

    `may_join(job, running)`: whether a job may begin beside those; asked whenever a job ends, and by `look_again`.
    """

    def __init__(self, may_join: Callable[[Job, tuple[Job, ...]], bool] = lambda job, running: True) -> None:
        self._may_join = may_join
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._waiting: list[Job] = []
        self._running: list[Job] = []

    def submit(self, title: str, work: Callable[[], T], model: str = "", version: str = "") -> Job:
        """Returns at once. The result, or what was raised, is in the job's future."""
        job = Job(next(self._numbers), title, model, work, version)
        with self._lock:
            self._waiting.append(job)
        self.look_again()
        return job

    def listed(self) -> tuple[Job, ...]:
        """What runs, then what waits, in order."""
        with self._lock:
            return (*self._running, *self._waiting)

    def cancel(self, job: Job) -> None:
        """A job that waits never begins. One that runs ends at its next step; its place is free once it has."""
        with self._lock:
            job.stop.set()
            if job in self._waiting:
                self._waiting.remove(job)
                job.state = "cancelled"
            elif job in self._running:
                job.state = "stopping"
            else:
                return
            if not job.future.done():
                job.future.set_exception(_cancelled(job))

    def look_again(self) -> None:
        """Begin whatever may begin now."""
        with self._lock:
            while (job := self._next()) is not None:
                self._waiting.remove(job)
                self._running.append(job)
                job.state, job.began = "running", time.monotonic()
                threading.Thread(target=self._run, args=(job,), name=f"job {job.number}", daemon=True).start()

    def _next(self) -> Job | None:
        """The first in the queue that may begin: one that must wait holds up none behind it."""
        running = tuple(self._running)
        if not running:
            return self._waiting[0] if self._waiting else None
        if len(running) >= MOST_AT_ONCE:
            return None
        return next((job for job in self._waiting if self._may_join(job, running)), None)

    def _run(self, job: Job) -> None:
        from discogp.models.turns import giving_way

        result: Any = None
        error: BaseException | None = None
        try:
            with giving_way(lambda: _clicks.give_way(job)):
                result = job.work()
        except BaseException as failure:  # it is told by whoever looks at the future
            error = failure
        with self._lock:
            self._running.remove(job)
            stopped = job.stop.is_set()
            job.state = "cancelled" if stopped else "failed" if error is not None else "done"
            if not job.future.done():
                if error is not None:
                    job.future.set_exception(error)
                else:
                    job.future.set_result(result)
        self.look_again()
