"""How fast the engine is, as a ratio of two things timed in turn in one run, so that a busy machine hits both alike.

One module a benchmark, each imported only when it runs: the command line lists them without loading torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from discogp.errors import ConfigError

if TYPE_CHECKING:
    from discogp.speed.report import Comparison

SHAPE_NAMES = ("gpt2-small", "small", "smollm2")


@dataclass(frozen=True)
class Benchmark:
    """`module`.measure(shape, batch, length, repeats, device, **options) -> Comparison; the first shape is the default.

    `options`: name -> what it says, shares that the benchmark takes beside.
    """

    module: str
    help: str
    shapes: tuple[str, ...] = SHAPE_NAMES
    repeats: int = 7
    example: str = ""
    """The function of `example` that measures the same with a real model's circuit, if there is one."""
    options: Mapping[str, str] = field(default_factory=dict)

    def run(
        self,
        shape: str,
        batch: int | None,
        length: int | None,
        repeats: int,
        device: str,
        model: str | None = None,
        **options: float,
    ) -> Comparison:
        """Measure, with `model` on a circuit that is shipped. ConfigError for a shape, a model or a number that is not
        allowed, or a device that is not there."""
        if model is not None:
            if not 1 <= repeats <= 1000:
                raise ConfigError(f"repeats is {repeats}; it must be between 1 and 1000")
            return getattr(import_module("discogp.speed.example"), self.example)(model, repeats, device)
        measure = import_module(f"discogp.speed.{self.module}").measure
        return measure(shape, batch, length, repeats, device, **options)


BENCHMARKS: Mapping[str, Benchmark] = {
    "step": Benchmark(
        "step",
        "an edge-search step against two plain forward and backward passes",
        options={
            "undecided": "share of the edges that are undecided; default: all, as at first",
            "kept": "share of the edges that are surely on",
        },
    ),
    "weights": Benchmark("weights", "a weight-search step against the same", repeats=5),
    "circuit": Benchmark(
        "circuit", "running a circuit of 2 % of the edges against the dense masked forward", example="circuit"
    ),
    "toggle": Benchmark(
        "toggle", "running it again with one edge off against the dense masked forward", example="toggles"
    ),
    "leave-one-out": Benchmark(
        "leave_one_out",
        "running it without each of its edges against that many separate evaluations",
        repeats=3,
        example="leave_one_out",
    ),
    "first-order": Benchmark(
        "first_order", "estimating what leaving out each of its edges does, against the plain forward pass", repeats=5
    ),
    "memory": Benchmark(
        "memory", "memory of an edge step, many layers against few", shapes=("small", "gpt2-small"), repeats=1
    ),
}
