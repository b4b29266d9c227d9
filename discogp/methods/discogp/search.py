"""The search of DiscoGP: weights first, then edges on the weights that were kept, which stay held throughout.

Every so many steps the thresholded masks are scored on the validation split; the circuit that is returned is the
sparsest of those that are faithful and complete enough, never simply the last, since accuracy swings while the density
falls. KL swings more: one that is sparser by a hair but says something else is passed over (`_Best`).

Once the circuit no longer shrinks, or is small enough, it is polished: with hardly any noise the mask that is drawn is
the circuit itself, so every step moves it towards saying what the model says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discogp.circuits.circuit import Circuit
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.engine.masks import unmasked_weights
from discogp.evaluation.outcome import Evaluation
from discogp.evaluation.scorer import Evaluator
from discogp.methods.discogp.edge_phase import EdgePhase
from discogp.methods.discogp.phase import Checked, Phase, StepReport, Thresholded
from discogp.methods.discogp.settings import PhaseConfig, SearchConfig
from discogp.methods.discogp.weight_phase import WeightPhase
from discogp.methods.settings import settings_to_dict
from discogp.search.job import Job, validation_figures
from discogp.search.progress import Clock, Progress
from discogp.tasks import Prompts
from discogp.terms import Searched

_FULL_MODEL_BATCH = 32
_LARGEST_KL = 100.0  # nats; more is no worse, nor is what is no number
# A circuit that counts as smaller has at most this share of the edges or weights of the one before.
_SMALLER = 0.99


@dataclass
class _Best:
    """The best masks so far: least shortfall from the targets first, then least density · e^KL.

    So a tenth fewer edges make up for a tenth of a nat, whatever the density. Of a search for the task alone, which
    lets KL grow, the density counts, and KL between equals.
    """

    rank: tuple[float, float, float] | None = None
    step: int = 0
    thresholded: Thresholded | None = None

    def offer(
        self, thresholded: Thresholded, evaluation: Evaluation, density: float, search: SearchConfig, step: int
    ) -> None:
        kl = evaluation.circuit.kl if evaluation.circuit.kl < _LARGEST_KL else _LARGEST_KL
        size = density if search.objective == "task" else density * math.exp(kl)
        rank = (_shortfall(evaluation, search), size, kl)
        if self.rank is None or rank < self.rank:
            self.rank, self.step, self.thresholded = rank, step, thresholded

    def state(self) -> dict[str, Any]:
        # Not asdict(), which would copy every mask.
        thresholded = None if self.thresholded is None else vars(self.thresholded)
        return {"rank": self.rank, "step": self.step, "candidate": thresholded}

    def load_state(self, state: Mapping[str, Any]) -> None:
        thresholded = state["candidate"]
        self.rank, self.step = state["rank"], state["step"]
        self.thresholded = None if thresholded is None else Thresholded(**thresholded)


def _shortfall(evaluation: Evaluation, search: SearchConfig) -> float:
    """By how much accuracy and complement together miss their targets, 0 if they meet them."""
    needed = search.target_accuracy * evaluation.full.accuracy
    missing = max(0.0, needed - evaluation.circuit.accuracy)
    return missing + max(0.0, evaluation.complement.accuracy - search.target_complement)


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


class Search:
    def __init__(self, job: Job, config: SearchConfig) -> None:
        self.job, self.config = job, config
        self.model, self.data, self.cancelled, self.processes = job.model, job.data, job.cancelled, job.processes
        self.saved = job.saved
        self.file = job.file if config.checkpoint_every else None
        model, data = job.model, job.data
        self.searched = model.in_precision(config.precision)  # circuits are scored on the model itself
        self.train = data.train.to(model.device)
        # Noise is drawn where the masks live; the order of prompts always on the CPU.
        self.generator = torch.Generator(device=model.device).manual_seed(config.seed)
        self.shuffler = torch.Generator().manual_seed(config.seed)
        self.evaluator = Evaluator(model, data.validation, config.ablation)
        self.clock = Clock(sum(phase.all_steps for phase in _phases(config)))
        self.full_log_probs = None if config.objective == "task" else _full_log_probs(model, self.train)
        self.history: list[dict[str, Any]] = []
        self.done = 0
        if job.saved:
            self.history, self.done = job.saved["history"], job.saved["done"]
            self.clock.began -= job.saved["elapsed"]

    def run(self) -> Iterator[Progress]:
        best = _Best()
        last: Thresholded | None = None
        weight_masks = self.saved["weight_masks"] if self.saved else None
        if self.config.mask != "edges" and weight_masks is None:
            phase: Phase = WeightPhase(self.searched, self.train, self.config, self.generator)
            yield from self._phase(phase, best, None)
            last = phase.thresholded()
            if best.thresholded is None:
                return
            weight_masks = best.thresholded.weight_masks
        if self.config.mask != "weights":
            best = _Best()
            phase = EdgePhase(self.searched, self.train, self.config, self.generator, weight_masks)
            yield from self._phase(phase, best, weight_masks)
            last = phase.thresholded()
        if best.thresholded is None or last is None or self.cancelled():
            return
        elapsed, _ = self.clock.times(self.done)
        circuit = self._circuit(best.thresholded, best.step)
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
        evaluate_at = phase.config.evaluated_at(self.config.evaluations)
        order = _Order(len(self.train), self.config.batch_size, self.shuffler)
        step = self._restore(phase, order, best)
        self.clock.total = self.done + self._steps_after(phase, step)
        while step < phase.config.all_steps:
            if self.cancelled():
                return
            chosen = order.draw()
            places = self.processes.part(range(len(chosen)))
            mine = [chosen[place] for place in places]
            known = None if self.full_log_probs is None else self.full_log_probs[self.train.rows_of(mine)]
            checked = Checked.of_batch(len(chosen), phase.config.completeness_share).within(places)
            some = self.train.subset(mine)
            report = phase.step(some, known, step, self.processes.add_up, of=len(chosen), checked=checked)
            self.done += 1
            validation = self._validate(phase, best) if step + 1 in evaluate_at else None
            step = self._next(phase, step, validation is not None)
            self.clock.total = self.done + self._steps_after(phase, step)
            elapsed, eta = self.clock.times(self.done)
            if self.file and self.done % self.config.checkpoint_every == 0:
                self.file.save(
                    {
                        "phase": phase.name, "step": step, "done": self.done, "elapsed": elapsed,
                        "history": self.history, "best": best.state(), "weight_masks": weight_masks,
                        "order": order.state(), "generator": self.generator.get_state(), "masks": phase.state(),
                    }
                )  # fmt: skip
            yield Progress(
                phase.name, self.done, self.clock.total, elapsed, eta, _losses(report), {phase.name: report.sparsity},
                validation=validation, best_step=best.step or None,
            )  # fmt: skip

    def _next(self, phase: Phase, step: int, evaluated: bool) -> int:
        """The step (from 0) to take after this one: once the circuit has settled, the first of the polish."""
        if evaluated and not phase.config.polishes(step) and self._settled(phase):
            return phase.config.steps
        return step + 1

    def _steps_after(self, phase: Phase, step: int) -> int:
        """How many are left at most, from this one of a phase."""
        phases = _phases(self.config)
        later = phases[phases.index(phase.config) + 1 :]
        return phase.config.all_steps - step + sum(one.all_steps for one in later)

    def _settled(self, phase: Phase) -> bool:
        """Whether the targets have been met, by a circuit that is small enough or has not shrunk for `patience`
        evaluations in a row.

        While λ_s rises, one that rests may shrink again, and one that misses the targets may meet them again.
        """
        smallest, since, met = float("inf"), 0, False
        mine = [one for one in self.history if one["phase"] == phase.name]
        for n, one in enumerate(mine, 1):
            if one["meets_targets"] and one["density"] <= phase.config.target_density > 0:
                return True
            risen = n > phase.config.rise * self.config.evaluations
            since, met = since + risen, met or one["meets_targets"]
            if one["density"] < smallest * _SMALLER:
                smallest, since = one["density"], 0
        return met and 0 < self.config.patience <= since

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
        thresholded = phase.thresholded()
        circuit = self._circuit(thresholded, self.done)
        evaluation = self.evaluator.evaluate(circuit)
        density = circuit.edge_density if phase.name == "edges" else circuit.weight_density
        assert density is not None  # the weight phase's candidates have weight masks
        best.offer(thresholded, evaluation, density, self.config, self.done)
        figures = validation_figures(evaluation, density)
        met = _shortfall(evaluation, self.config) == 0
        self.history.append({"phase": phase.name, "step": self.done, "meets_targets": met, **figures})
        return figures

    def _circuit(self, thresholded: Thresholded, step: int) -> Circuit:
        searched: Searched = self.config.mask
        if searched == "both" and thresholded.edge_logits is None:
            searched = "weights"  # masks of the first phase
        return Circuit(
            self.model.graph,
            thresholded.edge_mask,
            thresholded.edge_logits,
            thresholded.weight_masks,
            ablation=self.config.ablation,
            searched=searched,
            provenance=self.job.provenance("discogp", settings_to_dict(self.config), step, self.history),
            unmasked_weights=unmasked_weights(self.model.weights, thresholded.weight_masks),
        )


def _phases(config: SearchConfig) -> list[PhaseConfig]:
    """In their order."""
    return {"weights": [config.weights], "edges": [config.edges], "both": [config.weights, config.edges]}[config.mask]


def _losses(report: StepReport) -> dict[str, float]:
    return {name: getattr(report, name) for name in ("faithfulness", "completeness", "sparsity")}


def _full_log_probs(model: MaskedTransformer, prompts: Prompts) -> Tensor:
    """[r, V] of the unmasked model. In fixed batches, since another batch would be rounded otherwise."""
    batches = prompts.row_batches(_FULL_MODEL_BATCH)
    return torch.cat([model.logits(tokens, last).log_softmax(-1) for tokens, last in batches])
