"""How fast the engine is, as a ratio of two things timed in turn in one run, so that a busy machine hits both alike.

One module a benchmark, each imported only when it runs: the command line lists them without loading torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from discogp.speed.report import Comparison

SHAPE_NAMES = ("gpt2-small", "small")


@dataclass(frozen=True)
class Benchmark:
    """`module`.measure(shape, batch, length, repeats, device) -> Comparison; the first shape is the default."""

    module: str
    help: str
    shapes: tuple[str, ...] = SHAPE_NAMES
    repeats: int = 7

    def run(self, shape: str, batch: int | None, length: int | None, repeats: int, device: str) -> Comparison:
        """Measure. ConfigError for a shape or a number that is not allowed, or a device that is not there."""
        return import_module(f"discogp.speed.{self.module}").measure(shape, batch, length, repeats, device)


BENCHMARKS: Mapping[str, Benchmark] = {
    "step": Benchmark("step", "an edge-search step against two plain forward and backward passes"),
    "weights": Benchmark("weights", "a weight-search step against the same", repeats=5),
    "circuit": Benchmark("circuit", "running a circuit of 2 % of the edges against the dense masked forward"),
    "toggle": Benchmark("toggle", "running it again with one edge off against the dense masked forward"),
    "leave-one-out": Benchmark(
        "leave_one_out", "running it without each of its edges against that many separate evaluations", repeats=3
    ),
    "first-order": Benchmark(
        "first_order", "estimating what leaving out each of its edges does, against the plain forward pass", repeats=5
    ),
    "memory": Benchmark(
        "memory", "memory of an edge step, many layers against few", shapes=("small", "gpt2-small"), repeats=1
    ),
}
