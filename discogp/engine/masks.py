"""Masks as the engine takes them: of edges as matrices [reader, source], of weights as tensors of their shapes.

1 keeps, 0 replaces by the ablation's value, and what lies between mixes the two. Weight masks are named after
the weights: a{l}.q [H, D, dh], a{l}.k, a{l}.v [K, D, dh], a{l}.o [H, dh, D], m{l}.in, m{l}.gate [D, M],
m{l}.out [M, D], each with `.bias` where the model has one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from discogp.circuits.circuit import Circuit
from discogp.circuits.graph import ComputationGraph
from discogp.errors import ArtifactError
from discogp.models.weights import LayerWeights, ModelWeights
from discogp.terms import ATTENTION, MLP

# Of each kind of block: how its masks' names begin, its components, how the fields of LayerWeights begin.
_BLOCKS = (("a", ATTENTION, ""), ("m", MLP, "mlp_"))


def edge_matrix(
    graph: ComputationGraph, values: np.ndarray | Shaped[Tensor, "E"], device: torch.device | str = "cpu"
) -> Float[Tensor, "R P"]:
    """Values of every edge [E] as the matrix [R, P] that the model takes; zero where the graph has no edge."""
    matrix = torch.zeros(graph.n_readers, graph.n_sources, dtype=torch.float32)
    values = torch.from_numpy(np.array(values)) if not isinstance(values, Tensor) else values
    matrix[graph.rows, graph.columns] = values.float()
    return matrix.to(device)


def edge_vector(graph: ComputationGraph, matrix: Shaped[Tensor, "R P"]) -> np.ndarray:
    """The matrix [R, P] back as values of every edge [E]."""
    return matrix.detach().cpu().numpy()[graph.rows, graph.columns]


def weight_fields(weights: ModelWeights) -> Iterator[tuple[str, int, str, Tensor]]:
    """(mask name, layer, field of LayerWeights, tensor) of every weight and bias that a mask covers."""
    for index, layer in enumerate(weights.layers):
        for kind, components, beginning in _BLOCKS:
            for component in components:
                for suffix in ("", "_bias"):
                    field = f"{beginning}{component}{suffix}"
                    tensor = getattr(layer, field)
                    if tensor is not None:
                        yield f"{kind}{index}.{component}{suffix.replace('_', '.')}", index, field, tensor


def unmasked_weights(weights: ModelWeights, masks: Mapping[str, np.ndarray] | None) -> int:
    """How many weights and biases of attention and MLP none of the masks covers; 0 without masks."""
    return 0 if masks is None else sum(t.numel() for name, _, _, t in weight_fields(weights) if name not in masks)


def with_weights(weights: ModelWeights, changed: Mapping[str, Tensor]) -> ModelWeights:
    """A model with other tensors for the weights of these mask names; the rest is shared."""
    fields: list[dict[str, Tensor]] = [{} for _ in weights.layers]
    for name, layer, field, _ in weight_fields(weights):
        if name in changed:
            fields[layer][field] = changed[name]
    layers: tuple[LayerWeights, ...] = tuple(
        replace(layer, **own) for layer, own in zip(weights.layers, fields, strict=True)
    )
    return replace(weights, layers=layers)


def apply_weight_masks(weights: ModelWeights, masks: Mapping[str, Tensor]) -> ModelWeights:
    """A model whose weights are multiplied by their masks, differentiable in them; the given one is unchanged."""
    tensors = {name: tensor for name, _, _, tensor in weight_fields(weights)}
    return with_weights(weights, {name: tensors[name] * mask for name, mask in masks.items() if name in tensors})


def circuit_weights(weights: ModelWeights, circuit: Circuit) -> ModelWeights:
    """The weights that a circuit runs on: the model's, or the kept ones. ArtifactError if the masks do not fit."""
    if circuit.weight_masks is None:
        return weights
    shapes = {name: tuple(tensor.shape) for name, _, _, tensor in weight_fields(weights)}
    for name, mask in circuit.weight_masks.items():
        if shapes.get(name) != mask.shape:
            raise ArtifactError(
                f"the circuit's weight mask {name!r} has shape {mask.shape}; the model's is "
                f"{shapes.get(name, 'absent')}. Load the model that the circuit was found in"
            )
    masks = {name: torch.tensor(mask, device=weights.embed.device) for name, mask in circuit.weight_masks.items()}
    return apply_weight_masks(weights, masks)
