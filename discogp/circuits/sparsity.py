"""Where a circuit keeps its weights: per layer, per component and per MLP neuron, as plain numbers. Needs no torch.

Axes: layer l, component (q, k, v, o, in, gate, out, each with its bias), MLP neuron M. Shares are of the weights that a
mask covers, 0–1; what was not searched stays whole and is not counted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discogp.circuits.circuit import Circuit
from discogp.errors import ConfigError
from discogp.terms import COMPONENTS

_COMPONENTS = tuple(name + suffix for name in COMPONENTS for suffix in ("", ".bias"))


@dataclass(frozen=True)
class Count:
    """Weights kept, of so many."""

    kept: int
    total: int

    @property
    def share(self) -> float:
        return self.kept / max(self.total, 1)

    def __add__(self, other: Count) -> Count:
        return Count(self.kept + other.kept, self.total + other.total)

    def to_json(self) -> dict[str, Any]:
        return {"kept": self.kept, "total": self.total, "share": self.share}


@dataclass(frozen=True)
class Sparsity:
    """`counts`: (layer, component) -> what is kept of it. `neurons`: layer -> share of each neuron's weights [M].

    A neuron's weights are its column of `in` and `gate` with their biases and its row of `out`.
    """

    circuit: Circuit
    counts: Mapping[tuple[int, str], Count]

    @property
    def layers(self) -> list[int]:
        return sorted({layer for layer, _ in self.counts})

    @property
    def components(self) -> list[str]:
        """Those that any layer has a mask for, in the order of the forward pass."""
        present = {component for _, component in self.counts}
        return [name for name in _COMPONENTS if name in present]

    def layer(self, layer: int) -> Count:
        return sum((count for (at, _), count in self.counts.items() if at == layer), Count(0, 0))

    @cached_property
    def neurons(self) -> dict[int, NDArray[np.float64]]:
        assert self.circuit.weight_masks is not None  # `sparsity` refuses such circuits
        kept: dict[int, NDArray[np.int64]] = {}
        sizes: dict[int, int] = {}
        for name, mask in self.circuit.weight_masks.items():
            layer, component = _place(name)
            if name.startswith("a") or component == "out.bias":  # the latter is of no neuron
                continue
            by_neuron = mask.T if component == "out" else mask.reshape(-1, mask.shape[-1])
            kept[layer] = kept.get(layer, 0) + by_neuron.sum(0)
            sizes[layer] = sizes.get(layer, 0) + len(by_neuron)
        return {layer: kept[layer] / sizes[layer] for layer in sorted(kept)}

    def to_json(self, *, neurons: bool = False) -> dict[str, Any]:
        """All of it as plain data; `neurons` adds a list of M shares a layer."""
        circuit = self.circuit
        layers = [
            {
                "layer": layer,
                **self.layer(layer).to_json(),
                "components": {
                    c: self.counts[layer, c].to_json() for c in self.components if (layer, c) in self.counts
                },
                **({"neurons": self.neurons[layer].tolist()} if neurons and layer in self.neurons else {}),
            }
            for layer in self.layers
        ]
        densities = {
            "weight_density": circuit.weight_density,
            "searched_weight_density": circuit.searched_weight_density,
        }
        return {**densities, "unmasked_weights": circuit.unmasked_weights, "layers": layers}

    def __str__(self) -> str:
        """A table for people: a line a layer, a column a component, shares in per cent."""
        names = ["layer", "all", *self.components]
        widths = [max(7, len(name)) for name in names]
        rows = [names]
        for layer in self.layers:
            cells = [self.counts.get((layer, name)) for name in self.components]
            rows.append([str(layer), *(_percent(count) for count in (self.layer(layer), *cells))])
        text = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
        whole, searched = self.circuit.weight_density, self.circuit.searched_weight_density
        text.append(f"{whole:.2%} of the weights, {searched:.2%} of those searched")
        return "\n".join(text)


def sparsity(circuit: Circuit) -> Sparsity:
    """Counts of a circuit's weight masks. ConfigError for a circuit without any, which keeps every weight."""
    if circuit.weight_masks is None:
        raise ConfigError(
            "this circuit has no weight masks: it keeps every weight. Find one with --mask weights or --mask both"
        )
    counts = {
        _place(name): Count(int(np.count_nonzero(mask)), mask.size) for name, mask in circuit.weight_masks.items()
    }
    return Sparsity(circuit, counts)


def _place(name: str) -> tuple[int, str]:
    """(layer, component) of a mask's name: m3.in.bias -> (3, in.bias)."""
    block, _, component = name.partition(".")
    if not block[1:].isdigit() or component not in _COMPONENTS:
        raise ConfigError(f"there is no weight {name!r}; names are like a0.q, m3.in.bias")
    return int(block[1:]), component


def _percent(count: Count | None) -> str:
    return "–" if count is None else f"{count.share:.2%}"
