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


def known(survey: Survey) -> str:
    """Which of `view.WIDTHS` there is: effects once every edge was left out, estimates before, scores before that."""
    if survey.complete:
        return "effect"
    return "estimate" if survey.estimates else "score"


def widths_of(circuit: Circuit, survey: Survey) -> Widths | None:
    """Those, but for scores, which the circuit has itself."""
    name = known(survey)
    if name == "score":
        return None
    exact = {edge: effect.logit_diff for edge, effect in survey.effects.items()}
    return Widths.of(circuit.graph, exact if name == "effect" else survey.estimates, name)
