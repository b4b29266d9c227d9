"""Is every edge of a circuit needed? What the circuit loses without each of them, one at a time.

An edge is *idle* on a split if leaving it out changes nothing: the mean KL(circuit ‖ circuit without it) is below
`IDLE_KL` nats and no prompt's likeliest token or right-over-wrong verdict changes. *Minimality* is the share of kept
edges that are not idle: 1 for a circuit from which no single edge can go. Two idle edges may each stand in for the
other, so they need not be idle together. The idea of minimality as a measure: Wang et al. 2022, arXiv 2211.00593.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from discogp.circuits.circuit import Circuit
    from discogp.evaluation.outcome import Outcome
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

    @property
    def idle(self) -> bool:
        return self.change < IDLE_KL and not self.changed


@dataclass(frozen=True, eq=False)
class Minimality:
    """Every kept edge's effect; `outcomes` are in the order of `circuit.edges`."""

    circuit: Circuit
    whole: Outcome
    left_out: tuple[LeftOut, ...]

    @cached_property
    def effects(self) -> tuple[Effect, ...]:
        """Of all kept edges, the one that changes most first."""
        whole, names = self.whole.metrics, self.circuit.graph.edges
        found = []
        for one in self.left_out:
            metrics = one.outcome.metrics
            differences = {k: getattr(metrics, k) - getattr(whole, k) for k in ("accuracy", "top1", "kl", "logit_diff")}
            found.append(
                Effect(names[one.edge].name, float(np.mean(one.change)), int(one.changed.sum()), **differences)
            )
        return tuple(sorted(found, key=lambda effect: -effect.change))

    @property
    def n_idle(self) -> int:
        return sum(effect.idle for effect in self.effects)

    @property
    def minimality(self) -> float:
        """Share of the kept edges that are needed, 0–1; of no edges, all are."""
        return 1 - self.n_idle / len(self.effects) if self.effects else 1.0

    def to_json(self) -> dict[str, Any]:
        edges = [asdict(effect) | {"idle": effect.idle} for effect in self.effects]
        summary = {"minimality": self.minimality, "n_edges": len(edges), "n_idle": self.n_idle, "idle_kl": IDLE_KL}
        return summary | {"n": self.whole.metrics.n, "edges": edges}
