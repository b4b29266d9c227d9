"""From the engine's outcomes to what the tables show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from app.tables import ChangedPrompt, Row, share
from discogp.circuits.circuit import Circuit
from discogp.circuits.measures import measures

if TYPE_CHECKING:
    from app.explore.workbench import Workbench
    from discogp.evaluation.outcome import Outcome

COMPLEMENT_OF = {"edges": "every other edge", "weights": "every other weight", "both": "every other edge and weight"}


def numbers(metrics: Any) -> dict[str, float] | None:
    """Metrics, as an object of the engine or as JSON of a file; None for what holds no number."""
    if metrics is None:
        return None
    given = metrics if isinstance(metrics, Mapping) else metrics.to_json()
    found = {measure.name: given.get(measure.name) for measure in measures()}
    return {key: float(value) for key, value in found.items() if isinstance(value, (int, float))} or None


def saved_rows(circuit: Circuit, n_off: int) -> list[Row]:
    """The table as the circuit's file tells it, before its model is there."""
    made = circuit.provenance.get("metrics")
    saved: Mapping[str, Any] = made if isinstance(made, Mapping) else {}
    full, kept = numbers(saved.get("full")), numbers(saved.get("circuit"))
    return _rows(circuit, full, kept, None, saved.get("complement"), n_off)


def rows(circuit: Circuit, workbench: Workbench, outcome: Outcome | None, n_off: int) -> list[Row]:
    """The table as computed; `outcome` is that of the circuit without what is off."""
    session = workbench.session
    return _rows(
        circuit,
        numbers(session.full.metrics),
        numbers(session.circuit.metrics),
        numbers(outcome.metrics) if outcome is not None else None,
        workbench.complement,
        n_off,
    )


def _rows(
    circuit: Circuit,
    full: Mapping[str, float] | None,
    kept: Mapping[str, float] | None,
    without: Mapping[str, float] | None,
    complement: Any,
    n_off: int,
) -> list[Row]:
    sizes = f"{share(circuit.edge_density)} of edges"
    if circuit.weight_density is not None:
        sizes += f", {share(circuit.weight_density)} of weights"
    off = f"{n_off} switched off" if n_off else "click an edge or a node"
    return [
        Row("Full model", "every edge", full, role="full"),
        Row("Circuit", sizes, kept, role="circuit"),
        Row("Circuit without", off, without, versus=kept, role="without"),
        Row("Complement", COMPLEMENT_OF[circuit.searched], numbers(complement), role="complement"),
    ]


def changed_prompts(workbench: Workbench, outcome: Outcome) -> list[ChangedPrompt]:
    """Prompts whose likeliest token, or whose right-over-wrong verdict, differs from the circuit's; worst first."""
    full, before = workbench.session.full, workbench.session.circuit
    changed = np.flatnonzero(
        (outcome.top_token != before.top_token)
        | (outcome.correct != before.correct)
        | (outcome.top_is_right != before.top_is_right)
    )
    loss = (before.logit_diff - outcome.logit_diff)[changed]
    found = []
    for i in changed[np.argsort(-loss, kind="stable")].tolist():
        example = workbench.prompts.examples[i]
        found.append(
            ChangedPrompt(
                prompt=example.prompt,
                answer=" / ".join(word.strip() for word in example.correct[:3]),
                full=workbench.words(full.text(i)),
                before=workbench.words(before.text(i)),
                after=workbench.words(outcome.text(i)),
                right_before=bool(before.correct[i]),
                right_after=bool(outcome.correct[i]),
                difference_before=float(before.logit_diff[i]),
                difference_after=float(outcome.logit_diff[i]),
            )
        )
    return found
