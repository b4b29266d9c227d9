"""Is every edge of a circuit needed? What the circuit loses without each of them, one at a time.

An edge is *idle* on a split if leaving it out changes nothing: the mean KL(circuit ‖ circuit without it) is below
`IDLE_KL` nats and no prompt's likeliest token or right-over-wrong verdict changes. *Minimality* is the share of kept
edges that are not idle: 1 for a circuit from which no single edge can go. Two idle edges may each stand in for the
other, so they need not be idle together. The idea of minimality as a measure: Wang et al. 2022, arXiv 2211.00593.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from discogp.evaluation.uncertainty import wilson

if TYPE_CHECKING:
    from discogp.circuits.circuit import Circuit
    from discogp.evaluation.outcome import Metrics, Outcome
    from discogp.evaluation.toggling import LeftOut

IDLE_KL = 1e-3


@dataclass(frozen=True)
class Effect:
    """Of leaving one edge out, means over the split.

    `change`: KL(circuit ‖ circuit without it), nats; `changed`: prompts whose likeliest token or verdict is another;
    the rest: the circuit's figure without the edge less that with it.
    """

    edge: str
    change: float
    changed: int
    accuracy: float
    top1: float
    kl: float
    logit_diff: float

    @classmethod
    def of(cls, name: str, one: LeftOut, whole: Metrics) -> Effect:
        """Of one edge that was left out of a circuit whose figures are `whole`."""
        metrics = one.outcome.metrics
        differences = {k: getattr(metrics, k) - getattr(whole, k) for k in ("accuracy", "top1", "kl", "logit_diff")}
        return cls(name, float(np.mean(one.change)), int(one.changed.sum()), **differences)

    @property
    def idle(self) -> bool:
        return self.change < IDLE_KL and not self.changed


def sample_order(circuit: Circuit, seed: int) -> tuple[str, ...]:
    """The circuit's edges in random order: as many of the first as one likes are drawn at random."""
    names = list(circuit.edges)
    random.Random(seed).shuffle(names)
    return tuple(names)


@dataclass(frozen=True, eq=False)
class Minimality:
    """Every kept edge's effect, or those of some; `left_out` in the order of `circuit.edges` where it is of all.

    `seed`: of the random order whose first edges these are; None where they are all, or were chosen in another way.
    """

    circuit: Circuit
    whole: Outcome
    left_out: tuple[LeftOut, ...]
    seed: int | None = None

    @cached_property
    def effects(self) -> tuple[Effect, ...]:
        """The edge that changes most first."""
        whole, names = self.whole.metrics, self.circuit.graph.edges
        found = [Effect.of(names[one.edge].name, one, whole) for one in self.left_out]
        return tuple(sorted(found, key=lambda effect: -effect.change))

    @property
    def n_idle(self) -> int:
        return sum(effect.idle for effect in self.effects)

    @property
    def minimality(self) -> float:
        """Share of these edges that are needed, 0–1; of no edges, all are."""
        return 1 - self.n_idle / len(self.effects) if self.effects else 1.0

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the share of all kept edges lies, at 95 %; None where these are not a random sample."""
        return None if self.seed is None else wilson(len(self.effects) - self.n_idle, len(self.effects))

    def to_json(self) -> dict[str, Any]:
        """`n_edges`: all that the circuit keeps; `n_measured`: those left out, of which `n_idle` are idle."""
        edges = [asdict(effect) | {"idle": effect.idle} for effect in self.effects]
        summary = {"minimality": self.minimality, "interval_95": self.interval, "idle_kl": IDLE_KL, "seed": self.seed}
        summary |= {"n_edges": self.circuit.n_edges, "n_measured": len(edges), "n_idle": self.n_idle}
        return summary | {"n": self.whole.metrics.n, "edges": edges}
