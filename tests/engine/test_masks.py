"""Masks as the engine takes them: every edge and every weight in its own place, biases included."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from discogp.circuits.circuit import Circuit
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.engine.masks import apply_weight_masks, circuit_weights, edge_matrix, edge_vector, unmasked_weights
from discogp.errors import ArtifactError, ModelError
from tests.tiny_models import build_tiny_gpt2, build_tiny_llama

# As the documentation of the masks names them, without `weight_fields`.
FIELDS = {"a.q": "q", "a.k": "k", "a.v": "v", "a.o": "o", "m.in": "mlp_in", "m.gate": "mlp_gate", "m.out": "mlp_out"}


@pytest.fixture(scope="module", params=[build_tiny_gpt2, build_tiny_llama], ids=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(request.param(tmp_path_factory.mktemp("model")))


def named(model: MaskedTransformer) -> dict[str, tuple[int, str, torch.Tensor]]:
    """Mask name -> (layer, field, tensor)."""
    found = {}
    for layer in range(model.config.n_layers):
        for name, field in FIELDS.items():
            for suffix, more in (("", ""), (".bias", "_bias")):
                tensor = getattr(model.weights.layers[layer], field + more, None)
                if tensor is not None:
                    found[name.replace(".", f"{layer}.") + suffix] = (layer, field + more, tensor)
    return found


def test_every_edge_has_its_place_in_the_matrix(model: MaskedTransformer) -> None:
    graph = model.graph
    values = np.arange(1, graph.n_edges + 1, dtype=np.float32)
    matrix = edge_matrix(graph, values)
    for edge in graph.edges:
        assert matrix[edge.row, edge.column] == edge.index + 1
    assert int((matrix != 0).sum()) == graph.n_edges
    np.testing.assert_array_equal(edge_vector(graph, matrix), values)


def test_weights_and_biases_are_multiplied_by_their_masks_and_the_rest_is_shared(model: MaskedTransformer) -> None:
    tensors, rng = named(model), np.random.default_rng(0)
    assert any(name.endswith(".bias") for name in tensors) == (model.config.norm == "layer")
    masks = {name: torch.from_numpy(rng.random(tuple(t.shape)) < 0.5) for name, (_, _, t) in tensors.items()}
    whole = apply_weight_masks(model.weights, masks)
    for name, (layer, field, tensor) in tensors.items():
        assert torch.equal(getattr(whole.layers[layer], field), torch.where(masks[name], tensor, 0 * tensor)), name
        one = apply_weight_masks(model.weights, {name: masks[name]})
        for other, (at, its, same) in tensors.items():
            changed = getattr(one.layers[at], its)
            assert (changed is not same) == (other == name)
    assert whole.embed is model.weights.embed
    circuit = Circuit.full(model.graph, weight_masks={name: mask.numpy() for name, mask in masks.items()})
    of_circuit = circuit_weights(model.weights, circuit)
    for name, (layer, field, _) in tensors.items():
        assert torch.equal(getattr(of_circuit.layers[layer], field), getattr(whole.layers[layer], field)), name


def test_what_no_mask_covers_is_counted(model: MaskedTransformer) -> None:
    tensors = named(model)
    total = sum(tensor.numel() for _, _, tensor in tensors.values())
    mask = np.ones(tuple(tensors["m1.out"][2].shape), bool)
    assert unmasked_weights(model.weights, None) == 0
    assert unmasked_weights(model.weights, {}) == total
    assert unmasked_weights(model.weights, {"m1.out": mask}) == total - mask.size


@pytest.mark.parametrize("name", ["m1.out", "m9.out"])
def test_masks_that_do_not_fit_are_refused(model: MaskedTransformer, name: str) -> None:
    circuit = Circuit.full(model.graph, weight_masks={name: np.ones((1, 1), bool)})
    with pytest.raises(ArtifactError, match=name):
        circuit_weights(model.weights, circuit)


def test_the_longest_prompt_and_the_last_token_are_taken(model: MaskedTransformer) -> None:
    most, last = model.config.max_positions, model.config.d_vocab - 1
    tokens = torch.full((1, most), last)
    assert torch.equal(model.check_tokens(tokens), tokens)
    with pytest.raises(ModelError, match=f"token id {last + 1} is outside"):
        model.check_tokens(tokens + 1)
    with pytest.raises(ModelError, match="token id -1 is outside"):
        model.check_tokens(tokens - last - 1)
