"""Parts of a batch side by side on one CPU, each on cores of its own.

An edge step is a long chain of small products. Shared out product by product, the cores wait for each other thousands
of times a step, and much longer when another program takes one of them for a moment. Shared out by prompts they
meet once. A GPU does that sharing itself: there is one lane.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

# With fewer prompts in a lane, reading the weights costs more than what is gained.
_PROMPTS_PER_LANE = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


class Lanes:
    """`n` threads, with PyTorch's threads shared out among them. Results come in the order of the items."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._pool: ThreadPoolExecutor | None = None
        if n > 1:
            available = torch.get_num_threads()
            started = threading.Barrier(n + 1)

            def start() -> None:
                torch.get_num_threads()  # a thread's first question sets its number, so it must come first
                torch.set_num_threads(max(1, available // n))
                started.wait()

            self._pool = ThreadPoolExecutor(n, "lane", initializer=start)
            for _ in range(n):
                self._pool.submit(lambda: None)
            started.wait()
            # The number is each thread's own, but the last one set is also what threads to come begin with.
            torch.set_num_threads(available)

    @classmethod
    def for_batch(cls, size: int, device: torch.device) -> Lanes:
        """As many as cores and the prompts of a batch allow."""
        if device.type != "cpu":
            return cls(1)
        return cls(max(1, min(torch.get_num_threads(), size // _PROMPTS_PER_LANE)))

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """What `function` makes of every item; an exception in one of them is raised once all have ended."""
        if self._pool is None or len(items) < 2:
            return [function(item) for item in items]
        futures = [self._pool.submit(function, item) for item in items]
        for future in futures:
            future.exception()
        return [future.result() for future in futures]
