"""What the width of an edge shows: what it does, or its score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discogp.drawing.view import Widths

if TYPE_CHECKING:
    from app.explore.survey import Survey
    from discogp.circuits.circuit import Circuit

EFFECT, SCORE = "Effect", "Score"
_QUICK = 10_000  # edges of a model whose estimates are there in a second, so that nobody has to ask for them


def is_quick(circuit: Circuit) -> bool:
    return circuit.graph.n_edges <= _QUICK


def widths_of(circuit: Circuit, survey: Survey) -> Widths | None:
    """The effects of the circuit's edges: exact once every edge was left out, estimated before, None before that."""
    if survey.complete:
        return Widths.of(circuit.graph, {name: effect.logit_diff for name, effect in survey.effects.items()}, "effect")
    return Widths.of(circuit.graph, survey.estimates, "estimate") if survey.estimates else None
