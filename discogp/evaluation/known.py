"""What is the same whatever is switched off, computed batch by batch when it is first asked for, and then known.

Axes: row r, prompt b, vocabulary V. Whoever waits for figures of the first prompts need not wait for those of all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from discogp.evaluation.outcome import Outcome

T = TypeVar("T")


class ByBatch(Generic[T]):
    """One thing a batch, made by `make(index)` when it is first asked for. Threads may share it."""

    def __init__(self, n: int, make: Callable[[int], T]) -> None:
        self._made: dict[int, T] = {}
        self._n, self._make, self._lock = n, make, threading.RLock()

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> T:
        if not 0 <= index < self._n:
            raise IndexError(f"there is no batch {index}; there are {self._n}")
        with self._lock:
            if index not in self._made:
                self._made[index] = self._make(index)
            return self._made[index]

    @property
    def complete(self) -> bool:
        return len(self._made) == self._n


def on_first(parts: ByBatch[Outcome], sizes: Sequence[int], n: int) -> Outcome:
    """The outcome on the first batches that hold `n` prompts; `sizes`: how many each batch has."""
    found: list[Outcome] = []
    for index, size in enumerate(sizes):
        found.append(parts[index])
        n -= size
        if n <= 0:
            break
    return Outcome.joined(found)
