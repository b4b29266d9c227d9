"""A circuit in words: title, one line of numbers, and the labels of parts and measures that every output uses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from discogp.circuits.circuit import Circuit
from discogp.circuits.measures import measures

KIND_LABELS = MappingProxyType({"q": "query", "k": "key", "v": "value", "mlp": "MLP", "logits": "logits"})
_ENOUGH = 0.97
"""Share of the full model's accuracy from which on a circuit is said to be enough."""
PART_LABELS = MappingProxyType(
    {
        "full": "full model",
        "circuit": "circuit",
        "complement": "complement",
        # Where some of a circuit's edges are off, what is left of it, and the circuit that it was.
        "edited": "edited circuit",
        "original": "original circuit, nothing off",
        "original_complement": "complement of the original",
    }
)


def describe(circuit: Circuit) -> str:
    """A title for people from the provenance: `gpt2 · ioi`."""
    parts = [str(circuit.provenance[key]) for key in ("model", "task") if circuit.provenance.get(key)]
    parts[:1] = [_name_of(parts[0])] if parts else []
    origin = circuit.provenance.get("imported_from")
    file = origin.get("file") if isinstance(origin, Mapping) else None
    return " · ".join(parts) or (str(file) if file else "Circuit")


def _name_of(model: str) -> str:
    """A model may be a path; its last part is its name."""
    return model.rstrip("/").rpartition("/")[2] or model


def summary(circuit: Circuit, n_shown: int) -> str:
    """One line of numbers: edges kept, their share, weights kept, how many are drawn."""
    parts = [f"{circuit.n_edges:,} of {circuit.graph.n_edges:,} edges ({percent(circuit.edge_density)})"]
    if circuit.weight_density is not None:
        parts.append(f"{percent(circuit.weight_density)} of the weights")
    if circuit.unmasked_weights and circuit.searched_weight_density is not None:
        parts.append(f"{percent(circuit.searched_weight_density)} of those searched")
    parts.append(f"{circuit.ablation} ablation")
    if n_shown < circuit.n_edges:
        parts.append(f"the strongest {n_shown:,} drawn")
    return " · ".join(parts)


def sentence(circuit: Circuit) -> str:
    """What is seen, for somebody who sees it for the first time: how little it is, and what it does with its figures.

    That it is enough is said only of a circuit that is as right as the model, or nearly.
    """
    weights = "" if circuit.weight_density is None else f"{percent(circuit.weight_density)} of the weights"
    what = f"{circuit.n_edges:,} of {circuit.graph.n_edges:,} connections"
    if circuit.searched == "weights":
        what = weights or what
    elif weights:
        what += f", with {weights},"
    model, task = (circuit.provenance.get(name) for name in ("model", "task"))
    owner = _name_of(str(model)) if model else "the model"
    aim = f" for the task {task}" if task else ""
    found = {part: numbers.get("accuracy") for part, numbers in metrics_of(circuit)}
    full, alone, without = (found.get(part) for part in ("full", "circuit", "complement"))
    if alone is None:
        return f"These {what} of {owner} are the circuit{aim}."
    enough = full is not None and alone >= _ENOUGH * full
    split = "validation" if circuit.provenance.get("split") == "validation" else "test"
    told = [f"alone, they are right on {_tenths(alone)} of the {split} prompts"]
    told += [] if full is None else [f"the full model on {_tenths(full)}"]
    told += [] if without is None else [f"and all the rest without them on {_tenths(without)}"]
    return f"These {what} of {owner} are {'enough' if enough else 'the circuit'}{aim}: {', '.join(told)}."


def _tenths(share: float) -> str:
    return f"{100 * share:.1f}\u00a0%"


def metrics_of(circuit: Circuit) -> tuple[tuple[str, dict[str, float]], ...]:
    """The provenance's numbers for the full model, the circuit and its complement; what is no number is left out."""
    return figures_in(circuit.provenance.get("metrics"), ("full", "circuit", "complement"))


def figures_in(found: Any, parts: Sequence[str]) -> tuple[tuple[str, dict[str, float]], ...]:
    """(part, its measures by name) for each of these parts that has some numbers."""
    names, rows = [measure.name for measure in measures()], []
    for part in parts:
        numbers = found.get(part) if isinstance(found, Mapping) else None
        if isinstance(numbers, Mapping):
            clean = {name: float(numbers[name]) for name in names if _is_number(numbers.get(name))}
            rows += [(part, clean)] if clean else []
    return tuple(rows)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def percent(share: float) -> str:
    """Two significant figures, so that a sparse circuit does not become `0 %`."""
    value = 100 * share
    digits = 0 if value >= 10 or value == 0 else 1 if value >= 1 else 2
    return f"{value:.{digits}f} %"
