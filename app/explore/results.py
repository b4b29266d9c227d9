"""From the engine's outcomes to what the tables show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
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
    """The table as computed; `outcome` is that of the circuit without what is off.

    Of some prompts only, that row has its standard errors, and its changes are from the circuit on the same prompts.
    """
    session, n = workbench.session, len(workbench.prompts)
    kept = numbers(workbench.figures("circuit"))
    found = _rows(circuit, numbers(workbench.figures("full")), kept, None, workbench.figures("complement"), n_off)
    if outcome is not None:
        before = kept if len(outcome) == n else numbers(session.circuit_on(len(outcome)).metrics)
        found[2] = replace(found[2], metrics=numbers(outcome.metrics), versus=before)
        if len(outcome) < n:
            off = f"{n_off} off · {len(outcome)} of {n} prompts"
            found[2] = replace(found[2], detail=off, errors=outcome.errors(n))
    elif n_off:
        found[2] = replace(found[2], detail=f"{n_off} off · 0 of {n} prompts")
    return found


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
    session, n = workbench.session, len(outcome)
    full, before = session.full_on(n), session.circuit_on(n)
    changed = np.flatnonzero(
        (outcome.top_token != before.top_token)
        | (outcome.correct != before.correct)
        | (outcome.top_is_right != before.top_is_right)
    )
    loss = (before.logit_diff - outcome.logit_diff)[changed]
    found = []
    for i in changed[np.argsort(-loss, kind="stable")].tolist():
        found.append(_changed_prompt(workbench, i, full.only(i), before.only(i), outcome.only(i)))
    return found


def own_figures(workbench: Workbench, place: int, names: Iterable[str]) -> ChangedPrompt:
    """What one prompt says with the circuit and with the circuit without these."""
    return _changed_prompt(workbench, place, *workbench.prompt(place, names))


def _changed_prompt(workbench: Workbench, place: int, full: Outcome, before: Outcome, after: Outcome) -> ChangedPrompt:
    example = workbench.prompts.examples[place]
    return ChangedPrompt(
        prompt=example.prompt,
        answer=" / ".join(word.strip() for word in example.correct[:3]),
        full=workbench.words(full.text(0)),
        before=workbench.words(before.text(0)),
        after=workbench.words(after.text(0)),
        right_before=bool(before.correct[0]),
        right_after=bool(after.correct[0]),
        difference_before=float(before.logit_diff[0]),
        difference_after=float(after.logit_diff[0]),
    )
