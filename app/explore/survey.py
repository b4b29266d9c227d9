"""Leaving out every edge of a circuit in turn, behind the page. No Streamlit here: its calls belong to its threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from discogp.evaluation.minimality import Minimality

# One for all circuits: two at once on the same cores would both take twice as long.
_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="leave-one-out")


class _Cancelled(Exception):
    pass


class Survey:
    """One circuit's leave-one-out: not begun, running, cancelled, failed or there. All visitors share it.

    `run` does the work; it reports to the function it is given, (done, total).
    """

    def __init__(self, run: Callable[[Callable[[int, int], None]], Minimality]) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._future: Future[Minimality | None] | None = None
        self.progress = 0.0

    @property
    def running(self) -> bool:
        return self._future is not None and not self._future.done()

    def start(self) -> None:
        """Returns at once. Does nothing while it runs or once there is a result."""
        with self._lock:
            if self.running or self.result is not None:
                return
            self._stop.clear()
            self.progress = 0.0
            self._future = _pool.submit(self._work)

    def cancel(self) -> None:
        """It ends within a moment, and can be started anew."""
        self._stop.set()

    @property
    def error(self) -> BaseException | None:
        """Why the last try failed."""
        return None if self._future is None or self.running else self._future.exception()

    @property
    def result(self) -> Minimality | None:
        """None until it is there."""
        if self._future is None or self.running or self.error is not None:
            return None
        return self._future.result()

    def _work(self) -> Minimality | None:
        try:
            return self._run(self._report)
        except _Cancelled:
            return None

    def _report(self, done: int, total: int) -> None:
        if self._stop.is_set():
            raise _Cancelled
        self.progress = done / total
