"""Which weights are searched, and which of them share one mask logit: a *unit*.

Axes: unit u (U); LayerWeights' H, K, D, dh, M; group G = H / K, the query heads that share a key/value head.
Granularities (flexible granularity: arXiv 2407.03779 v2), finest first:

weight  every weight and bias is a unit.
neuron  one unit an MLP neuron (its column of `in` and `gate` with their biases, its row of `out`), one a dimension of
        what a head hands on (column of `v` with its bias, rows of `o` of the query heads that read it), one a query
        head's column of `q` and one a key head's column of `k` with their biases.
head    one unit an attention head (with grouped queries: all heads that share keys and values), one an MLP.

A bias that is no unit's (`o`'s, and but for "head" `out`'s) belongs to no neuron or head, and stays.

In a unit of several weights it is enough to mask some of them, its *carriers*: a neuron whose row of `out` is zero
is gone whatever its column of `in`. Only carriers are masked in the search. The function of a hard mask is the same,
it costs less, and the gradient at 0 is that of bringing the unit back; with all masked at once it would vanish there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discogp.engine.masks import weight_fields
from discogp.errors import ConfigError
from discogp.methods.discogp.settings import WeightConfig, chosen_components, chosen_layers
from discogp.models.weights import ModelConfig, ModelWeights
from discogp.terms import ATTENTION, Granularity

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Covered:
    """One weight or bias under search, and its units: those from `first` on, in the shape `units`.

    `grid` is a shape of the weight against which `units` broadcasts. `carrier`: the search masks this one.
    """

    name: str
    weight: Tensor
    grid: Shape
    units: Shape
    first: int
    carrier: bool

    @property
    def places(self) -> slice:
        return slice(self.first, self.first + math.prod(self.units))

    def spread(self, values: Tensor) -> Tensor:
        """Values of all units [U] as a view that broadcasts against the weight's grid."""
        return values[self.places].view(self.units)


class WeightUnits:
    """The units of a search. ConfigError names a layer or component that the model has not."""

    def __init__(self, weights: ModelWeights, config: WeightConfig) -> None:
        layers = chosen_layers(config.layers, weights.config.n_layers)
        components = chosen_components(config.components, config.granularity)
        places: dict[str, tuple[int, int]] = {}  # a unit group's first unit, and how many it has
        self.covered: list[Covered] = []
        self.n_units = self.n_weights = 0
        for name, layer, _, weight in weight_fields(weights):
            component, _, bias = name.partition(".")[2].partition(".")
            if layer not in layers or component not in components:
                continue
            layout = _layout(component, bool(bias), config.granularity, weights.config, tuple(weight.shape))
            if layout is None:
                continue
            group, grid, units, carrier = layout
            group, size = f"{layer}.{group}", math.prod(units)
            if group not in places:
                places[group] = (self.n_units, size)
                self.n_units += size
            self.covered.append(Covered(name, weight, grid, units, places[group][0], carrier))
            self.n_weights += weight.numel()
        if not self.covered:
            raise ConfigError(
                f"no weight is left to search: weights.components is {config.components!r}, and this model has none "
                "of them; choose others"
            )
        self.single = config.granularity == "weight"

    def sizes(self) -> Tensor:
        """[U] float: how many weights each unit has."""
        sizes = torch.zeros(self.n_units, device=self.covered[0].weight.device)
        for one in self.covered:
            sizes[one.places] += one.weight.numel() / math.prod(one.units)
        return sizes

    def carriers(self) -> Iterator[Covered]:
        return (one for one in self.covered if one.carrier)

    def masks(self, kept: Tensor) -> dict[str, NDArray[np.bool_]]:
        """The mask of every weight under search, in its own shape, from the units kept [U] bool."""
        return {
            one.name: one.spread(kept).expand(one.grid).reshape(one.weight.shape).cpu().numpy() for one in self.covered
        }


def _layout(
    component: str, bias: bool, granularity: Granularity, config: ModelConfig, shape: Shape
) -> tuple[str, Shape, Shape, bool] | None:
    """(unit group within the layer, grid, units, carrier) of a weight; None where it belongs to no unit."""
    if granularity == "weight":
        return component + ".bias" * bias, shape, shape, True
    attention = component in ATTENTION
    if attention and bias and component == "o":
        return None
    by_group = (config.n_kv_heads, config.queries_per_kv_head)
    if granularity == "head":
        if not attention:
            return "mlp", shape, (1,) * len(shape), component == "out"
        grid = (by_group if component in "qo" else by_group[:1]) + shape[1:]
        return "heads", grid, (grid[0], *(1,) * (len(grid) - 1)), component == "o"
    if component == "out":
        return None if bias else ("neurons", shape, (shape[0], 1), True)
    if not attention:
        return "neurons", shape, (*(1,) * (len(shape) - 1), shape[-1]), False
    if component == "o":
        return "values", (*by_group, *shape[1:]), (by_group[0], 1, shape[1], 1), True
    units = (shape[0], *(1,) * (len(shape) - 2), shape[-1])
    return ("values" if component == "v" else component), shape, units, component != "v"
