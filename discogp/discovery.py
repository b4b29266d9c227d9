"""The search for a circuit, as a generator of progress events that ends with the circuit.

    for progress in discover(model, task, preset("quick")):
        ...
    circuit = progress.circuit

Weights come first, then edges on the weights that were kept, which stay held throughout. Every so many steps the
thresholded masks are scored on the validation split; the circuit that is returned is the sparsest of those that are
faithful and complete enough, never simply the last, since accuracy swings while the density falls.

With a checkpoint file, an interrupted search can be continued (see `checkpoint`); with several processes, each takes
its part of every batch (see `distributed`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discogp.checkpoint import CheckpointFile
from discogp.circuit import Circuit, Searched
from discogp.data import TaskData, prepare
from discogp.distributed import Processes
from discogp.errors import ConfigError
from discogp.evaluation import Evaluation, Evaluator
from discogp.masked_transformer import MaskedTransformer
from discogp.masks import unmasked_weights
from discogp.methods.edge_phase import EdgePhase
from discogp.methods.phase import Candidate, Phase, StepReport
from discogp.methods.weight_phase import WeightPhase
from discogp.settings import (
    PRESETS,
    PhaseConfig,
    SearchConfig,
    config_from_dict,
    config_to_dict,
    preset,
)
from discogp.tasks import Prompts, Task, get_task
from discogp.versions import versions

__all__ = [
    "PRESETS",
    "PhaseConfig",
    "Progress",
    "SearchConfig",
    "config_from_dict",
    "config_to_dict",
    "discover",
    "preset",
]

_FULL_MODEL_BATCH = 32


@dataclass(frozen=True)
class Progress:
    """One event. Times in seconds; losses in nats; densities: expected share kept, 0–1.

    `phase` is "weights" or "edges", and "done" on the last event, which alone has circuits: the best one, and the
    one after the last step. `validation` is there whenever the thresholded circuit has just been scored.
    """

    phase: str
    step: int
    total_steps: int
    elapsed: float
    eta: float
    losses: Mapping[str, float]
    densities: Mapping[str, float]
    validation: Mapping[str, float] | None = None
    best_step: int | None = None
    circuit: Circuit | None = None
    last_circuit: Circuit | None = None


@dataclass
class _Best:
    """The best candidate so far: least shortfall from the targets first, then least density."""

    rank: tuple[float, float, float] | None = None
    step: int = 0
    candidate: Candidate | None = None

    def offer(
        self, candidate: Candidate, evaluation: Evaluation, density: float, search: SearchConfig, step: int
    ) -> None:
        needed = search.target_accuracy * evaluation.full.accuracy
        shortfall = max(0.0, needed - evaluation.circuit.accuracy) + max(
            0.0, evaluation.complement.accuracy - search.target_complement
        )
        rank = (shortfall, density, evaluation.circuit.kl)
        if self.rank is None or rank < self.rank:
            self.rank, self.step, self.candidate = rank, step, candidate

    def state(self) -> dict[str, Any]:
        # Not asdict(), which would copy every mask.
        candidate = None if self.candidate is None else vars(self.candidate)
        return {"rank": self.rank, "step": self.step, "candidate": candidate}

    def load_state(self, state: Mapping[str, Any]) -> None:
        candidate = state["candidate"]
        self.rank, self.step = state["rank"], state["step"]
        self.candidate = None if candidate is None else Candidate(**candidate)


class _Order:
    """Endless batches of places in the training split, shuffled anew in every pass through it."""

    def __init__(self, n: int, batch_size: int, shuffler: torch.Generator) -> None:
        self.n, self.size, self.shuffler = n, min(batch_size, n), shuffler
        self.order: list[int] = []
        self.next = 0

    def draw(self) -> list[int]:
        if self.next + self.size > len(self.order):
            self.order, self.next = torch.randperm(self.n, generator=self.shuffler).tolist(), 0
        chosen = self.order[self.next : self.next + self.size]
        self.next += self.size
        return chosen

    def state(self) -> dict[str, Any]:
        return {"order": self.order, "next": self.next, "shuffler": self.shuffler.get_state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.order, self.next = list(state["order"]), state["next"]
        self.shuffler.set_state(state["shuffler"])


@dataclass
class _Clock:
    """Time spent, and an estimate of the time left from the pace of the phase under way."""

    total: int
    began: float = field(default_factory=time.monotonic)
    phase_began: float = 0.0
    phase_first: int = 0

    def enter(self, first: int) -> None:
        self.phase_began, self.phase_first = time.monotonic(), first

    def times(self, done: int) -> tuple[float, float]:
        now = time.monotonic()
        pace = (now - self.phase_began) / max(done - self.phase_first, 1)
        return now - self.began, pace * (self.total - done)


def discover(
    model: MaskedTransformer,
    task: str | Task | TaskData,
    config: SearchConfig | None = None,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    processes: Processes | None = None,
) -> Iterator[Progress]:
    """Search for a circuit; the last event carries it. Stops early, without a circuit, once `cancelled()` is true.

    A task, or the name of one, is prepared with the default sizes and the config's seed; give `TaskData` for others.
    Without a config, the preset "balanced" over edges. The model is not changed.

    Every `config.checkpoint_every` steps the search is saved in the file `checkpoint`, if given; `resume` goes on from
    there, and the caller removes the file once the circuit is safe. `processes` share the batches of one search.
    Raises TaskError, ConfigError and, for a damaged checkpoint, ArtifactError before the first event.
    """
    config = config or preset("balanced", n_edges=model.graph.n_edges)
    if isinstance(task, str):
        task = get_task(task)
    resample = config.ablation == "resample"
    data = task if isinstance(task, TaskData) else prepare(model, task, seed=config.seed, need_counterfactual=resample)
    if config.ablation == "resample" and data.train.counterfactual is None:
        raise ConfigError(f"the task {data.task_name!r} has no counterfactual prompts; set ablation to zero or mean")
    file = None if checkpoint is None else CheckpointFile(Path(checkpoint), model, data, config)
    if resume and file is None:
        raise ConfigError("there is nothing to resume from: no checkpoint file was given")
    saved = file.load() if resume and file else None
    return _Search(model, data, config, cancelled, file, saved, processes or Processes()).run()


class _Search:
    def __init__(
        self,
        model: MaskedTransformer,
        data: TaskData,
        config: SearchConfig,
        cancelled: Callable[[], bool],
        file: CheckpointFile | None,
        saved: dict[str, Any] | None,
        processes: Processes,
    ) -> None:
        self.model, self.data, self.config, self.cancelled = model, data, config, cancelled
        self.searched = model.in_precision(config.precision)  # circuits are scored on the model itself
        self.file = file if processes.first and config.checkpoint_every else None
        self.saved, self.processes = saved, processes
        self.train = data.train.to(model.device)
        # Noise is drawn where the masks live; the order of prompts always on the CPU.
        self.generator = torch.Generator(device=model.device).manual_seed(config.seed)
        self.shuffler = torch.Generator().manual_seed(config.seed)
        phases = {"weights": [config.weights], "edges": [config.edges], "both": [config.weights, config.edges]}
        self.evaluator = Evaluator(model, data.validation, config.ablation)
        self.clock = _Clock(sum(phase.steps for phase in phases[config.mask]))
        self.full_log_probs = None if config.objective == "task" else _full_log_probs(model, self.train)
        self.history: list[dict[str, Any]] = []
        self.done = 0
        if saved:
            self.history, self.done = saved["history"], saved["done"]
            self.clock.began -= saved["elapsed"]

    def run(self) -> Iterator[Progress]:
        best = _Best()
        last: Candidate | None = None
        weight_masks = self.saved["weight_masks"] if self.saved else None
        if self.config.mask != "edges" and weight_masks is None:
            phase: Phase = WeightPhase(self.searched, self.train, self.config, self.generator)
            yield from self._phase(phase, best, None)
            last = phase.candidate()
            if best.candidate is None:
                return
            weight_masks = best.candidate.weight_masks
        if self.config.mask != "weights":
            best = _Best()
            phase = EdgePhase(self.searched, self.train, self.config, self.generator, weight_masks)
            yield from self._phase(phase, best, weight_masks)
            last = phase.candidate()
        if best.candidate is None or last is None or self.cancelled():
            return
        elapsed, _ = self.clock.times(self.done)
        circuit = self._circuit(best.candidate, best.step)
        densities = {"edges": circuit.edge_density}
        if circuit.weight_density is not None:
            densities["weights"] = circuit.weight_density
        yield Progress(
            "done", self.done, self.clock.total, elapsed, 0.0, {}, densities,
            best_step=best.step, circuit=circuit, last_circuit=self._circuit(last, self.done),
        )  # fmt: skip

    def _phase(
        self, phase: Phase, best: _Best, weight_masks: Mapping[str, NDArray[np.bool_]] | None
    ) -> Iterator[Progress]:
        self.clock.enter(self.done)
        steps = phase.config.steps
        evaluate_at = {round(steps * (i + 1) / self.config.evaluations) for i in range(self.config.evaluations)}
        order = _Order(len(self.train), self.config.batch_size, self.shuffler)
        for step in range(self._restore(phase, order, best), steps):
            if self.cancelled():
                return
            chosen = order.draw()
            mine = self.processes.part(chosen)
            known = None if self.full_log_probs is None else self.full_log_probs[mine]
            report = phase.step(self.train.subset(mine), known, step, self.processes.add_up, of=len(chosen))
            self.done += 1
            validation = self._validate(phase, best) if step + 1 in evaluate_at else None
            elapsed, eta = self.clock.times(self.done)
            if self.file and (step + 1) % self.config.checkpoint_every == 0:
                self.file.save(
                    {
                        "phase": phase.name, "step": step + 1, "done": self.done, "elapsed": elapsed,
                        "history": self.history, "best": best.state(), "weight_masks": weight_masks,
                        "order": order.state(), "generator": self.generator.get_state(), "masks": phase.state(),
                    }
                )  # fmt: skip
            yield Progress(
                phase.name, self.done, self.clock.total, elapsed, eta, _losses(report), {phase.name: report.sparsity},
                validation=validation, best_step=best.step or None,
            )  # fmt: skip

    def _restore(self, phase: Phase, order: _Order, best: _Best) -> int:
        """Put a phase back to where it was saved, once. The step (from 0) to begin with."""
        saved, self.saved = self.saved, None
        if saved is None:
            return 0
        phase.load_state(saved["masks"])
        order.load_state(saved["order"])
        self.generator.set_state(saved["generator"])
        best.load_state(saved["best"])
        return saved["step"]

    def _validate(self, phase: Phase, best: _Best) -> dict[str, float]:
        candidate = phase.candidate()
        circuit = self._circuit(candidate, self.done)
        evaluation = self.evaluator.evaluate(circuit)
        density = circuit.edge_density if phase.name == "edges" else circuit.weight_density
        assert density is not None  # the weight phase's candidates have weight masks
        best.offer(candidate, evaluation, density, self.config, self.done)
        figures = {
            "accuracy": evaluation.circuit.accuracy,
            "top1": evaluation.circuit.top1,
            "kl": evaluation.circuit.kl,
            "logit_diff": evaluation.circuit.logit_diff,
            "complement_accuracy": evaluation.complement.accuracy,
            "complement_kl": evaluation.complement.kl,
            "density": density,
        }
        self.history.append({"phase": phase.name, "step": self.done, **figures})
        return figures

    def _circuit(self, candidate: Candidate, step: int) -> Circuit:
        searched: Searched = self.config.mask
        if searched == "both" and candidate.edge_logits is None:
            searched = "weights"  # a candidate of the first phase
        return Circuit(
            self.model.graph,
            candidate.edge_mask,
            candidate.edge_logits,
            candidate.weight_masks,
            ablation=self.config.ablation,
            searched=searched,
            provenance={
                "model": self.model.name,
                "fingerprint": self.model.weights.fingerprint,
                "method": "discogp",
                "seed": self.config.seed,
                "config": config_to_dict(self.config),
                "step": step,
                "history": list(self.history),
                "versions": versions(),
                **self.data.recipe(),
            },
            unmasked_weights=unmasked_weights(self.model.weights, candidate.weight_masks),
        )


def _losses(report: StepReport) -> dict[str, float]:
    return {name: getattr(report, name) for name in ("faithfulness", "completeness", "sparsity")}


def _full_log_probs(model: MaskedTransformer, prompts: Prompts) -> Tensor:
    """[n, V] of the unmasked model. In fixed batches, since another batch would be rounded otherwise."""
    batches = prompts.batches(_FULL_MODEL_BATCH)
    return torch.cat([model.logits(batch.tokens, batch.last).log_softmax(-1) for batch in batches])
