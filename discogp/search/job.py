"""One search, as every method gets it: what it is of, how it is interrupted and saved, and who takes part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discogp.engine.masked_transformer import MaskedTransformer
from discogp.evaluation.outcome import Evaluation
from discogp.prompts.prepare import TaskData
from discogp.search.checkpoint import CheckpointFile
from discogp.search.distributed import Processes
from discogp.versions import versions


@dataclass(frozen=True)
class Job:
    """`file`: where to save, None if this process does not. `saved`: the state to go on from, None for a new search."""

    model: MaskedTransformer
    data: TaskData
    cancelled: Callable[[], bool]
    file: CheckpointFile | None
    saved: dict[str, Any] | None
    processes: Processes

    def provenance(
        self, method: str, settings: Mapping[str, Any], step: int, history: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Where a circuit of this search comes from: enough to find it again."""
        return {
            "model": self.model.name,
            "fingerprint": self.model.weights.fingerprint,
            "method": method,
            "seed": settings["seed"],
            "config": dict(settings),
            "step": step,
            "history": list(history),
            "versions": versions(),
            **self.data.recipe(),
        }


def validation_figures(evaluation: Evaluation, density: float) -> dict[str, float]:
    """What is told of a circuit that has just been scored on the validation split."""
    return {
        "accuracy": evaluation.circuit.accuracy,
        "top1": evaluation.circuit.top1,
        "kl": evaluation.circuit.kl,
        "logit_diff": evaluation.circuit.logit_diff,
        "complement_accuracy": evaluation.complement.accuracy,
        "complement_kl": evaluation.complement.kl,
        "density": density,
    }
