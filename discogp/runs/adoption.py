"""A circuit found elsewhere becomes one like our own: on the model's graph, with prompts, figures and provenance.

The command line's `import` and the page's uploads both go this way. Reading the file is `circuits.foreign`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from discogp.circuits.circuit import Circuit
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.errors import TaskError
from discogp.evaluation.scorer import Evaluation, evaluate
from discogp.prompts.prepare import TaskData, prepare
from discogp.tasks import SplitSizes, get_task
from discogp.terms import Ablation, Bos
from discogp.versions import versions


@dataclass(frozen=True)
class Adopted:
    """The circuit with its figures on the test split; `notes`: what there is to be said of how it was scored."""

    circuit: Circuit
    evaluation: Evaluation
    data: TaskData
    notes: tuple[str, ...]


def of_model(circuit: Circuit, model: MaskedTransformer) -> Circuit:
    """The circuit with the model named in its provenance; nothing is computed, and figures of other weights go."""
    made: dict[str, Any] = {
        "model": model.name,
        "fingerprint": model.weights.fingerprint,
        "d_model": model.config.d_model,
        "method": "imported",
        "created": now(),
        "versions": versions(),
    }
    before = dict(circuit.provenance)
    if before.get("fingerprint") != made["fingerprint"]:
        for name in ("metrics", "split", "n_prompts"):
            before.pop(name, None)
    return replace(circuit, provenance={**before, **made})


def adopt(
    circuit: Circuit,
    model: MaskedTransformer,
    task: str,
    task_options: Mapping[str, Any] | None = None,
    *,
    ablation: Ablation | None = None,
    sizes: SplitSizes | None = None,
    seed: int = 0,
    only_known: bool = True,
    bos: Bos | None = None,
) -> Adopted:
    """Score a circuit of this model's graph on a task's test prompts, as a search does at its end.

    Without `ablation`: the one that the file names; else resample, with which EAP-IG's and ACDC's circuits were found;
    else, where the task has no counterfactuals, zero. A note says which. Raises TaskError, ConfigError, and
    ArtifactError for another model's circuit.
    """
    origin = circuit.provenance.get("imported_from")
    ablation = ablation or (origin.get("ablation") if isinstance(origin, Mapping) else None)
    chosen, data, notes = _prompts(model, task, dict(task_options or {}), ablation, sizes, seed, only_known, bos)
    if data.few:
        notes = (*notes, data.few)
    circuit = replace(of_model(circuit, model), ablation=chosen)
    evaluation = evaluate(model, circuit, data.test)
    provenance = {**circuit.provenance, "seed": seed, **data.recipe(), **figures(evaluation)}
    return Adopted(replace(circuit, provenance=provenance), evaluation, data, (*notes, *data.notes))


def figures(evaluation: Evaluation) -> dict[str, Any]:
    """What a circuit's provenance says of its evaluation at the end of a search or an import."""
    return {"metrics": evaluation.to_json(), "split": "test", "n_prompts": evaluation.circuit.n, "created": now()}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _prompts(
    model: MaskedTransformer,
    name: str,
    options: dict[str, Any],
    ablation: Ablation | None,
    sizes: SplitSizes | None,
    seed: int,
    only_known: bool,
    bos: Bos | None,
) -> tuple[Ablation, TaskData, tuple[str, ...]]:
    def prepared(resample: bool) -> TaskData:
        return prepare(model, get_task(name, **options), sizes, seed, only_known, resample, bos)

    if ablation is not None:
        return ablation, prepared(ablation == "resample"), ()
    data = prepared(False)
    if data.test.counterfactual is None:
        note = f"{data.task_name} has no counterfactual prompts, so what is outside the circuit is set to zero"
        return "zero", data, (note,)
    try:
        data = prepared(True)
    except TaskError as error:
        return "zero", data, (f"what is outside the circuit is set to zero: {error}",)
    return "resample", data, ("what is outside the circuit is resampled from counterfactual prompts",)
