"""First-order effects of all edges of a sparse circuit, from one backward pass, against the plain forward pass."""

from __future__ import annotations

from discogp.circuits.circuit import Circuit
from discogp.evaluation.first_order import first_order
from discogp.evaluation.scorer import Scorer
from discogp.methods.random import random_edges
from discogp.speed.report import Comparison, Side, in_turn
from discogp.speed.shapes import case
from discogp.speed.sparse_circuits import DENSITY, about


def measure(shape: str, batch: int | None, length: int | None, repeats: int, device: str) -> Comparison:
    on = case(shape, batch, length, repeats, device)
    mask = random_edges(on.model.graph, DENSITY)
    scorer, circuit = Scorer(on.model, on.prompts), Circuit(on.model.graph, mask)
    ours, plain = in_turn(
        on.device,
        repeats,
        lambda: first_order(scorer, circuit),
        lambda: [on.model.logits(part.tokens, part.last) for part in scorer.batches],
    )
    return Comparison(
        "first-order",
        on.setting,
        Side("first-order effects of every edge", ours),
        Side("plain forward pass", plain),
        extra={"circuit": about(on.model.graph, mask)},
    )
