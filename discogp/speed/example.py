"""What the page does with a shipped circuit of a real model, on its own test prompts, against the plain model on them.

Plain: the unmasked model's forward pass on the same prompts, in the same batches. Where prompts begin alike, circuits
share what the plain pass computes again and again; random prompts would not show that.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from discogp import paths
from discogp.circuits.artifact import load_circuit
from discogp.circuits.circuit import Circuit
from discogp.engine.masked_transformer import load_model
from discogp.engine.memory import MB
from discogp.errors import ConfigError
from discogp.evaluation.scorer import Scorer
from discogp.evaluation.toggling import Toggler
from discogp.models.loading import usable_device
from discogp.prompts.prepare import restore
from discogp.speed.report import Comparison, Side, in_turn

_SAMPLE = 24
_LAST_LAYERS = 5
_SEPARATELY = 6


class Example:
    """A model, a shipped circuit of it, and that circuit's prompts; ConfigError if none is shipped."""

    def __init__(self, model: str, device: str) -> None:
        self.circuit = _shipped(model)
        self.model = load_model(model, usable_device(device))
        self.mask = self.circuit.edge_mask
        prompts = restore(self.model, self.circuit.provenance).test
        self.scorer = Scorer(self.model, prompts, self.circuit.ablation)
        self.toggler = Toggler(self.scorer, self.mask)
        edges, layers = np.flatnonzero(self.mask), self.model.config.n_layers
        late = edges[self.model.graph.rows[edges] >= self.model.graph.attention_rows(layers - _LAST_LAYERS).start]
        generator = np.random.default_rng(1)
        self.sample, self.last_layers = (
            generator.choice(some, min(_SAMPLE, len(some)), replace=False) for some in (edges, late)
        )

    @property
    def setting(self) -> str:
        scorer, circuit, batches = self.scorer, self.circuit, self.scorer.batches
        different = sum(len(scorer.runner(index).prefixes) for index in range(len(batches)))
        return (
            f"{self.model.name}, {circuit.n_edges:,} of {self.model.graph.n_edges:,} edges, {circuit.ablation} "
            f"ablation, {len(scorer.prompts)} test prompts of {circuit.provenance['task']} in {len(batches)} batches "
            f"({scorer.prompts.tokens.numel():,} positions, {different:,} different beginnings), {self.model.device}"
        )

    def plain(self) -> None:
        for batch in self.scorer.batches:
            self.model.logits(batch.tokens, batch.last)

    def afresh(self) -> None:
        self.scorer.outcome(self.mask)

    def without_each(self, edges: NDArray[np.int64]) -> None:
        for edge in edges:
            mask = self.mask.copy()
            mask[edge] = False
            self.toggler.outcome(mask)


def toggles(model: str, repeats: int, device: str) -> Comparison:
    """One edge off, all prompts and measures; beside it the circuit afresh, and edges of the last layers."""
    on = Example(model, device)
    on.toggler.outcome(on.mask)
    n = len(on.sample)
    random, last, afresh, plain = in_turn(
        on.model.device,
        repeats,
        lambda: on.without_each(on.sample),
        lambda: on.without_each(on.last_layers),
        on.afresh,
        on.plain,
        warm_up=0,
    )
    kept, size = on.toggler.kept
    unit = statistics.median(plain)
    return Comparison(
        "toggle",
        on.setting,
        Side(f"one edge off, all prompts, mean of {n} random edges", tuple(seconds / n for seconds in random)),
        Side("plain forward pass on the same prompts", plain),
        extra={
            f"ratio_of_edges_of_the_last_{_LAST_LAYERS}_layers": statistics.median(last) / len(on.last_layers) / unit,
            "ratio_of_the_circuit_from_scratch": statistics.median(afresh) / unit,
            "kept": f"{kept} of {len(on.scorer.batches)} batches, {size / MB:,.0f} MB",
            "kept_in_half_precision": on.toggler.n_halved,
        },
    )


def circuit(model: str, repeats: int, device: str) -> Comparison:
    """The circuit from scratch, all prompts and measures."""
    on = Example(model, device)
    afresh, plain = in_turn(on.model.device, repeats, on.afresh, on.plain)
    return Comparison(
        "circuit",
        on.setting,
        Side("circuit, all prompts", afresh),
        Side("plain forward pass on the same prompts", plain),
    )


def leave_one_out(model: str, repeats: int, device: str) -> Comparison:
    """Leave-one-out of some edges against that many evaluations from scratch."""
    on = Example(model, device)
    on.toggler.outcome(on.mask)
    n = len(on.sample)

    def separately() -> None:
        for edge in on.sample[:_SEPARATELY]:
            mask = on.mask.copy()
            mask[edge] = False
            on.scorer.outcome(mask)

    ours, separate = in_turn(
        on.model.device, repeats, lambda: on.toggler.leave_one_out(on.sample.tolist()), separately, warm_up=0
    )
    return Comparison(
        "leave-one-out",
        on.setting,
        Side(f"leave-one-out of {n} edges, drawn at random", ours),
        Side(f"separate evaluation, mean of {_SEPARATELY} of these", tuple(s / _SEPARATELY for s in separate)),
        factor=n,
    )


def _shipped(model: str) -> Circuit:
    folders = sorted(path for path in (paths.assets() / "examples").iterdir() if path.is_dir())
    named = {folder: _model_of(folder) for folder in folders}
    for folder, name in named.items():
        if name == model:
            return load_circuit(folder)
    raise ConfigError(
        f"no circuit of the model {model!r} is shipped; allowed: {', '.join(sorted(set(named.values())))}"
    )


def _model_of(folder: Path) -> str:
    return str(json.loads((folder / "circuit.json").read_text(encoding="utf-8"))["provenance"]["model"])
