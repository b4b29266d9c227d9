"""The engine against a slow reference, on tiny random models of the real architectures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from discogp.circuits.circuit import Circuit
from discogp.engine import masked_pass
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.engine.masks import edge_matrix
from discogp.engine.sparse_pass import sparse_logits
from discogp.engine.workspace import Workspace
from discogp.errors import ArtifactError, ConfigError, GraphError, ModelError
from discogp.evaluation.session import run_circuit
from tests.slow_reference import slow_logits
from tests.tiny_models import TINY, build_tiny

TOLERANCE = 1e-4


@pytest.fixture(scope="module", params=TINY)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(build_tiny(request.param, tmp_path_factory.mktemp("tiny")))


def tokens_of(model: MaskedTransformer, seed: int, shape: tuple[int, int] = (3, 6)) -> torch.Tensor:
    return torch.randint(0, model.config.d_vocab, shape, generator=torch.Generator().manual_seed(seed))


def random_circuit(model: MaskedTransformer, density: float, seed: int = 0) -> Circuit:
    kept = np.random.default_rng(seed).random(model.graph.n_edges) < density
    return Circuit(model.graph, kept)


def test_the_models_are_not_trivial(model: MaskedTransformer) -> None:
    """Were logits tiny, any two forwards would agree."""
    logits = model.logits(tokens_of(model, 0))
    assert logits.std() > 0.1
    circuit = random_circuit(model, 0.5)
    assert (run_circuit(model, circuit, tokens_of(model, 0)) - logits).abs().max() > 0.1


def test_all_ones_is_the_original_model(model: MaskedTransformer) -> None:
    tokens = tokens_of(model, 1)
    full = run_circuit(model, Circuit.full(model.graph), tokens)
    torch.testing.assert_close(full, model.logits(tokens), atol=TOLERANCE, rtol=0)
    every_edge = slow_logits(model.weights, model.graph, {e.name for e in model.graph.edges}, tokens)
    torch.testing.assert_close(full, every_edge, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("ablation", ["zero", "mean", "resample"])
@pytest.mark.parametrize("density", [0.0, 0.05, 0.5, 0.95])
def test_any_edge_subset_agrees_with_the_slow_reference(
    model: MaskedTransformer, ablation: str, density: float
) -> None:
    tokens, other = tokens_of(model, 2), tokens_of(model, 3)
    circuit = random_circuit(model, density, seed=int(100 * density))
    written: dict[str, torch.Tensor] = {}
    slow_logits(model.weights, model.graph, {e.name for e in model.graph.edges}, other, written=written)
    replacements = {
        "zero": None,
        "mean": {name: x.mean((0, 1), keepdim=True) for name, x in written.items()},
        "resample": written,
    }[ablation]
    expected = slow_logits(model.weights, model.graph, set(circuit.edges), tokens, replacements)
    counterfactual = None if ablation == "zero" else other
    got = run_circuit(model, circuit, tokens, ablation, counterfactual)
    torch.testing.assert_close(got, expected, atol=TOLERANCE, rtol=0)

    # The narrow pass (one position a prompt) and the sparse pass give the same numbers there.
    last = torch.tensor([5, 2, 4])
    expected = expected[torch.arange(3), last]
    replacement = model.replacement(ablation, tokens, counterfactual)
    mask = edge_matrix(model.graph, circuit.edge_mask)
    narrow = model.masked(tokens, mask, last=last, replacement=replacement)
    torch.testing.assert_close(narrow, expected, atol=TOLERANCE, rtol=0)
    sparse = sparse_logits(model.graph, model.folded, circuit.edge_mask, tokens, last, replacement)
    torch.testing.assert_close(sparse, expected, atol=TOLERANCE, rtol=0)


@pytest.fixture(params=[1, 2, 3])
def layers_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models fit into one group of layers; real ones do not."""
    monkeypatch.setattr(masked_pass, "_LAYERS_AT_ONCE", request.param)


@pytest.mark.usefixtures("layers_at_once")
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("ablation", ["zero", "resample"])
def test_gradients_are_those_of_finite_differences(model: MaskedTransformer, narrow: bool, ablation: str) -> None:
    exact = MaskedTransformer(model.weights.to(dtype=torch.float64), "double")
    tokens, other = tokens_of(model, 4), tokens_of(model, 5)
    last = torch.tensor([5, 2, 4]) if narrow else None
    generator = torch.Generator().manual_seed(6)
    shape = (model.graph.n_readers, model.graph.n_sources)
    valid = edge_matrix(model.graph, np.ones(model.graph.n_edges)).double()
    mask = (torch.rand(shape, generator=generator) * valid).double().requires_grad_()
    replacement = exact.replacement(ablation, tokens, other)

    def value(m: torch.Tensor) -> torch.Tensor:
        return exact.masked(tokens, m, last=last, replacement=replacement).sin().sum()

    value(mask).backward()
    assert mask.grad is not None
    assert (mask.grad * (1 - valid) == 0).all()
    for seed in range(3):
        direction = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double() * valid
        with torch.no_grad():
            step = 1e-7  # so small that hardly a ReLU changes sides on the way
            numeric = (value(mask + step * direction) - value(mask - step * direction)) / (2 * step)
        torch.testing.assert_close((mask.grad * direction).sum(), numeric, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("ablation", ["zero", "resample"])
def test_recomputed_inputs_give_the_same_gradients_in_less_memory(
    model: MaskedTransformer, narrow: bool, ablation: str
) -> None:
    tokens, last = tokens_of(model, 4), torch.tensor([5, 2, 4]) if narrow else None
    mask = edge_matrix(model.graph, random_circuit(model, 0.7).edge_mask).requires_grad_()
    replacement = model.replacement(ablation, tokens, tokens_of(model, 5))
    gradients, sizes = [], []
    for recompute in (False, True):
        workspace = Workspace()
        logits = model.masked(
            tokens, mask, last=last, replacement=replacement, workspace=workspace, recompute=recompute
        )
        gradients += torch.autograd.grad(logits.sin().sum(), mask)
        sizes.append(sum(buffer.numel() for buffer in workspace.buffers.values()))
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-5, rtol=1e-5)
    assert sizes[1] < sizes[0]


def test_candidates_are_those_columns_of_the_logits(model: MaskedTransformer) -> None:
    tokens, last = tokens_of(model, 7), torch.tensor([5, 2, 4])
    mask = edge_matrix(model.graph, random_circuit(model, 0.7).edge_mask)
    ids = tokens_of(model, 8, (3, 2))
    everything = model.masked(tokens, mask, last=last)
    some = model.masked(tokens, mask, last=last, candidates=ids)
    torch.testing.assert_close(some, everything.gather(1, ids), atol=1e-5, rtol=0)


def test_padding_changes_nothing(model: MaskedTransformer) -> None:
    tokens = tokens_of(model, 9, (2, 4))
    padded = torch.cat([tokens, tokens_of(model, 10, (2, 3))], dim=1)
    mask = edge_matrix(model.graph, random_circuit(model, 0.6).edge_mask)
    last = torch.tensor([3, 3])
    torch.testing.assert_close(
        model.masked(padded, mask, last=last), model.masked(tokens, mask, last=last), atol=1e-5, rtol=0
    )


def test_a_workspace_refuses_a_late_backward(model: MaskedTransformer) -> None:
    tokens, workspace = tokens_of(model, 11), Workspace()
    mask = edge_matrix(model.graph, np.ones(model.graph.n_edges)).requires_grad_()
    first = model.masked(tokens, mask, workspace=workspace)
    model.masked(tokens, mask, workspace=workspace)
    with pytest.raises(RuntimeError, match="another masked pass"):
        first.sum().backward()


def test_memory_of_a_pass_grows_as_the_number_of_nodes(model: MaskedTransformer) -> None:
    """No buffer has a size of readers times sources times tokens."""
    workspace, tokens = Workspace(), tokens_of(model, 12)
    mask = edge_matrix(model.graph, np.ones(model.graph.n_edges)).requires_grad_()
    model.masked(tokens, mask, workspace=workspace).sum().backward()
    per_node = tokens.numel() * model.config.d_model
    # Sources, their gradients in two buffers, all readers' inputs, and a few layers' gradients on the way back.
    nodes = model.graph.n_readers + 3 * model.graph.n_sources + 4 * model.graph.readers_per_layer + 1
    assert sum(buffer.numel() for buffer in workspace.buffers.values()) <= per_node * nodes


@pytest.mark.usefixtures("unchecked_shapes")
def test_wrong_arguments_say_what_is_wrong(model: MaskedTransformer) -> None:
    circuit, tokens = Circuit.full(model.graph), tokens_of(model, 13)
    with pytest.raises(ModelError, match="token id 97 is outside"):
        run_circuit(model, circuit, torch.full((1, 3), 97))
    with pytest.raises(ModelError, match="at least one of each"):
        run_circuit(model, circuit, torch.zeros(0, 3, dtype=torch.long))
    with pytest.raises(ModelError, match="whole numbers"):
        run_circuit(model, circuit, torch.zeros(1, 3))
    with pytest.raises(ModelError, match="at most"):
        run_circuit(model, circuit, torch.zeros(1, model.config.max_positions + 1, dtype=torch.long))
    with pytest.raises(ConfigError, match="resample ablation needs counterfactual"):
        run_circuit(model, circuit, tokens, "resample")
    with pytest.raises(ConfigError, match="they must be of the prompts' shape"):
        run_circuit(model, circuit, tokens, "resample", tokens[:, :2])
    with pytest.raises(ConfigError, match="'nothing'; allowed: zero, mean, resample"):
        run_circuit(model, circuit, tokens, "nothing")  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="unknown reader 'm99'"):
        Circuit.from_edges(model.graph, ["input->m99"])
    from discogp.circuits.graph import ComputationGraph

    with pytest.raises(ArtifactError, match="Load the model that the circuit was found in"):
        run_circuit(model, Circuit.full(ComputationGraph(1, 1)), tokens)


def test_values_where_the_graph_has_no_edge_carry_nothing(model: MaskedTransformer) -> None:
    tokens = torch.arange(10).view(2, 5)
    everywhere = torch.ones(model.graph.n_readers, model.graph.n_sources)
    torch.testing.assert_close(model.masked(tokens, everywhere), model.logits(tokens), atol=1e-4, rtol=0)
