"""What a benchmark reports: two sides measured in turn, their medians, spread and ratio."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Side:
    """One side of a comparison: what was measured, and every repeat of it, in `unit`."""

    label: str
    values: tuple[float, ...]
    unit: str = "s"

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        places = 0 if self.unit == "MB" else 4
        low, middle, high = (f"{v:,.{places}f}" for v in (min(self.values), self.median, max(self.values)))
        return f"{self.label}: {middle} {self.unit} ({low}–{high})"


@dataclass(frozen=True)
class Comparison:
    """`ours` against `yardstick`; `factor` units of the yardstick count as one (leave-one-out: n evaluations)."""

    benchmark: str
    setting: str
    ours: Side
    yardstick: Side
    factor: float = 1.0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Of medians; below 1, ours is less."""
        return self.ours.median / (self.yardstick.median * self.factor)

    def to_json(self) -> dict[str, Any]:
        def side(s: Side) -> dict[str, Any]:
            return {"label": s.label, "median": s.median, "values": list(s.values), "unit": s.unit}

        return {
            "benchmark": self.benchmark,
            "setting": self.setting,
            "ours": side(self.ours),
            "yardstick": side(self.yardstick) | {"factor": self.factor},
            "ratio": self.ratio,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            **self.extra,
        }

    def __str__(self) -> str:
        times = "" if self.factor == 1 else f" × {self.factor:g}"
        inverse = f" (1/{1 / self.ratio:.1f})" if 0 < self.ratio < 1 else ""
        lines = [
            f"{self.benchmark}: {self.setting}, {torch.get_num_threads()} threads, {len(self.ours.values)} repeats",
            str(self.ours),
            f"{self.yardstick}{times}",
            f"ratio of medians: {self.ratio:.3g}{inverse}",
        ]
        lines += [f"{name.replace('_', ' ')}: {_text(value)}" for name, value in self.extra.items()]
        return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,.4g}" if abs(value) < 100 else f"{value:,.0f}"


def in_turn(
    device: torch.device, repeats: int, *actions: Callable[[], object], warm_up: int = 1
) -> list[tuple[float, ...]]:
    """Seconds of every repeat of every action, taken in turn after a warm-up of buffers and kernels."""

    def timed(action: Callable[[], object]) -> float:
        _wait(device)
        began = time.perf_counter()
        action()
        _wait(device)
        return time.perf_counter() - began

    for _ in range(warm_up):
        for action in actions:
            timed(action)
    seconds: list[list[float]] = [[] for _ in actions]
    for _ in range(repeats):
        for series, action in zip(seconds, actions, strict=True):
            series.append(timed(action))
    return [tuple(series) for series in seconds]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_mb(device: torch.device) -> float:
    """Most memory so far in MB: of the GPU's allocator, or of the whole process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():  # the other figure begins, in a new process, with that of the process that started it
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return float(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
