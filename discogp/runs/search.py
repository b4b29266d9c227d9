"""The one way from settings to a saved circuit: model, task, prompts, what fits, search, evaluation, files.

The command line, a run's worker and the page start their searches here and differ only in what they do with the stages
that they are told of. `ready` goes as far as the prompts, which is where an estimate begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from discogp.circuits.artifact import save_circuit
from discogp.circuits.circuit import Circuit
from discogp.discovery import discover
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.errors import TaskError
from discogp.evaluation.scorer import Evaluation, evaluate
from discogp.methods.base import Estimate, Method, get_method
from discogp.prompts.prepare import TaskData, prepare
from discogp.runs.adoption import figures
from discogp.runs.store import RunSettings
from discogp.search import checkpoint as checkpoints
from discogp.search.distributed import Processes
from discogp.search.progress import Progress
from discogp.tasks import SplitSizes, get_task


@dataclass(frozen=True)
class Ready:
    """A search whose prompts are prepared."""

    model: MaskedTransformer
    data: TaskData
    method: Method
    config: Any
    few_prompts: bool = False

    def check_enough(self) -> None:
        """TaskError for so few prompts that figures mean little, unless that was asked for."""
        if self.data.few and not self.few_prompts:
            raise TaskError(
                f"{self.data.few}; give more prompts, or, to search all the same, --few-prompts (on the page: the "
                "switch “Few prompts will do”)"
            )

    def estimate(self, memory_limit_mb: float | None = None) -> Estimate:
        """Memory and, where there is room to measure it, time. TaskError as for `check_enough`."""
        self.check_enough()
        found = self.method.estimate(self.model, self.data, self.config, memory_limit_mb)
        return self.method.measured(self.model, self.data, self.config, found) if found.fits else found

    def fitting(self, memory_limit_mb: float | None = None) -> Any:
        """The settings that fit into memory; ConfigError, with those that would, if these cannot."""
        return self.method.fitting(self.model, self.data, self.config, memory_limit_mb)


@dataclass(frozen=True)
class Stage:
    """What happens now, in words; `ready` once prompts are prepared, `after_step` where an earlier search goes on."""

    name: str
    message: str
    ready: Ready | None = None
    after_step: int | None = None


@dataclass(frozen=True)
class Saved:
    """The end: both circuits are on the disk. `circuit` carries its figures on the test split."""

    circuit: Circuit
    evaluation: Evaluation
    data: TaskData
    last: Progress


def ready(settings: RunSettings, model: MaskedTransformer | None = None) -> Ready:
    """Settings with their model, loaded unless given, and prompts. Raises DiscoGPError for what cannot be."""
    method = get_method(settings.method)
    config = method.settings_from(settings.config)
    task = get_task(settings.task, **settings.task_options)
    sizes = SplitSizes(**settings.sizes)
    model = model or load_model(settings.model, device=settings.device)
    resample = config.ablation == "resample"
    data = prepare(model, task, sizes, config.seed, settings.only_known, resample, settings.bos)
    return Ready(model, data, method, config, settings.few_prompts)


def run_search(
    settings: RunSettings,
    out: Path,
    last: Path,
    checkpoint: Path,
    *,
    model: MaskedTransformer | None = None,
    resume: bool | None = False,
    cancelled: Callable[[], bool] = lambda: False,
    processes: Processes | None = None,
    memory_limit_mb: float | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Iterator[Stage | Progress | Saved]:
    """Search and save: the best circuit in the folder `out`, that of the last step in `last`; hold the `places` first.

    `resume` None: go on from the checkpoint if there is one. `provenance`: added to the circuit's. Only the first of
    several processes evaluates and saves. Ends without `Saved` if cancelled. Raises DiscoGPError.
    """
    processes = processes or Processes()
    if model is None:
        yield Stage("prepare", f"Loading {settings.model}")
        model = load_model(settings.model, device=settings.device)
    yield Stage("prepare", f"Preparing prompts of {settings.task}")
    search = ready(settings, model)
    answered = f"The full model answers {search.data.full_accuracy:.1%} of the prompts rightly"
    yield Stage("prepare", answered, ready=search)
    search.check_enough()
    config = search.fitting(memory_limit_mb)
    going_on = checkpoint.is_file() if resume is None else resume
    if resume is None and going_on:
        step = checkpoints.read(checkpoint)["state"]["done"]
        yield Stage("prepare", f"Continuing after step {step}", after_step=step)
    final = None
    for final in discover(
        model, search.data, search.method.name, config,
        cancelled=cancelled, checkpoint=checkpoint, resume=going_on, processes=processes,
    ):  # fmt: skip
        yield final
    if final is None or final.circuit is None or cancelled() or not processes.first:
        return
    yield Stage("evaluate", "Evaluating on the test split")
    evaluation = evaluate(model, final.circuit, search.data.test)
    made = {"d_model": model.config.d_model, **figures(evaluation), **(provenance or {})}
    circuit = replace(final.circuit, provenance={**final.circuit.provenance, **made})
    save_circuit(circuit, out)
    if final.last_circuit is not None:
        save_circuit(final.last_circuit, last)
    checkpoint.unlink(missing_ok=True)
    yield Saved(circuit, evaluation, search.data, final)
