"""The events that every search yields, whatever its method, and the clock that times them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from discogp.circuits.circuit import Circuit


@dataclass(frozen=True)
class Progress:
    """One event. Times in seconds; losses in nats; densities: expected share kept, 0–1.

    `phase` is "weights" or "edges", and "done" on the last event, which alone has circuits: the best one, and the
    one after the last step. `validation` is there whenever the thresholded circuit has just been scored.
    """

    phase: str
    step: int
    total_steps: int
    elapsed: float
    eta: float
    losses: Mapping[str, float]
    densities: Mapping[str, float]
    validation: Mapping[str, float] | None = None
    best_step: int | None = None
    circuit: Circuit | None = None
    last_circuit: Circuit | None = None


@dataclass
class Clock:
    """Time spent, and an estimate of the time left from the pace of the phase under way."""

    total: int
    began: float = field(default_factory=time.monotonic)
    phase_began: float = 0.0
    phase_first: int = 0

    def enter(self, first: int) -> None:
        self.phase_began, self.phase_first = time.monotonic(), first

    def times(self, done: int) -> tuple[float, float]:
        now = time.monotonic()
        pace = (now - self.phase_began) / max(done - self.phase_first, 1)
        return now - self.began, pace * (self.total - done)
