"""The weight step against a plain autograd formulation of the same loss, and against finite differences."""

from __future__ import annotations

import gc
import weakref
from copy import deepcopy
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from discogp.circuits.circuit import Circuit
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.engine.masks import apply_weight_masks, weight_fields
from discogp.engine.plain import plain_forward
from discogp.evaluation.session import run_circuit
from discogp.methods.discogp.draws import UniformDraws
from discogp.methods.discogp.losses import completeness_loss, faithfulness_loss
from discogp.methods.discogp.settings import SearchConfig, WeightConfig
from discogp.methods.discogp.weight_phase import WeightPhase
from discogp.tasks import Prompts
from tests.random_task import prompts_of
from tests.tiny_models import build_tiny_gpt2, build_tiny_llama

PHASE = WeightConfig(
    steps=4, learning_rate=0.1, initial_logit=0.5, initial_spread=1.0, temperature=0.7, noise=0.9, completeness=0.6,
    sparsity_peak=30.0,
)  # fmt: skip
STEP = 2


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    build = build_tiny_gpt2 if request.param == "gpt2" else build_tiny_llama
    return load_model(build(tmp_path_factory.mktemp(request.param)))


def phase_of(model: MaskedTransformer, **changes: object) -> tuple[WeightPhase, SearchConfig, Prompts]:
    search = SearchConfig(mask="weights", objective="both", weights=WeightConfig(**(asdict(PHASE) | changes)))  # type: ignore[arg-type]
    batch = prompts_of(model, 6, 0)
    return WeightPhase(model, batch, search, torch.Generator().manual_seed(3)), search, batch


def full_log_probs(model: MaskedTransformer, batch: Prompts) -> Tensor:
    return model.logits(batch.tokens, batch.last).log_softmax(-1)


def draws_of(n: int, seed: int, step: int) -> Tensor:
    return torch.cat([block.clone() for _, block, _ in UniformDraws(n, seed, torch.device("cpu")).each(step)])


@pytest.mark.parametrize("granularity", ["weight", "neuron", "head"])
@pytest.mark.parametrize("where", [{}, {"layers": "0,2", "components": "mlp"}, {"components": "attention"}])
def test_the_update_is_that_of_autograd_through_one_relaxed_sample(
    model: MaskedTransformer, granularity: str, where: dict[str, str]
) -> None:
    phase, search, batch = phase_of(model, granularity=granularity, **where)
    config, units = search.weights, phase.units
    logits = phase.logits.detach().clone().requires_grad_()
    noise = draws_of(units.n_units, search.seed, STEP).logit()
    soft = torch.sigmoid((logits + config.noise_at(STEP) * noise) / config.temperature)
    mask = (soft > 0.5).float() + soft - soft.detach()

    def run(mask: Tensor) -> Tensor:
        masks = {one.name: one.spread(mask).expand(one.grid).reshape(one.weight.shape) for one in units.carriers()}
        return plain_forward(apply_weight_masks(model.weights, masks), batch.tokens, batch.last)

    full = full_log_probs(model, batch)
    faithful = faithfulness_loss(run(mask), full, batch, "both")
    complete = completeness_loss(run(1 - mask), batch.correct, batch.wrong)
    searched = {one.name: one for one in units.covered}
    sizes = torch.zeros(units.n_units)
    for one in searched.values():
        sizes[one.places] += one.weight.numel() / len(sizes[one.places])
    density = (sizes * logits.sigmoid()).sum() / sum(one.weight.numel() for one in searched.values())
    (faithful + config.completeness * complete + config.sparsity_at(STEP) * density).backward()
    expected = torch.optim.AdamW([logits], lr=config.learning_rate, weight_decay=config.weight_decay)

    report = phase.step(batch, full, STEP)
    assert report.faithfulness == pytest.approx(faithful.item(), rel=1e-5)
    assert report.completeness == pytest.approx(complete.item(), rel=1e-5)
    assert report.sparsity == pytest.approx(density.item(), rel=1e-5)
    assert logits.grad is not None
    assert phase.logits.grad is not None
    scale = float(logits.grad.abs().max())
    torch.testing.assert_close(phase.logits.grad, logits.grad, rtol=1e-3, atol=1e-5 * scale)
    logits.grad = phase.logits.grad.clone()  # AdamW's first step magnifies the rounding of tiny gradients
    expected.step()
    torch.testing.assert_close(phase.logits, logits)


def test_mask_gradients_are_finite_differences(model: MaskedTransformer) -> None:
    phase, search, batch = phase_of(model)
    phase.begin(STEP)
    full = full_log_probs(model, batch)
    phase.accumulate(batch, full, 1.0)
    kept = torch.cat([leaf.detach().flatten() != 0 for _, leaf in phase._masked]).double()
    exact = model.weights.to(dtype=torch.float64)
    shapes = {name: tensor.shape for name, _, _, tensor in weight_fields(exact)}

    def loss(mask: Tensor) -> float:
        pieces = mask.split([shape.numel() for shape in shapes.values()])
        masks = {name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
        others = {name: 1 - mask for name, mask in masks.items()}
        run = (plain_forward(apply_weight_masks(exact, m), batch.tokens, batch.last) for m in (masks, others))
        faithful = faithfulness_loss(next(run), full.double(), batch, "both")
        complete = completeness_loss(next(run), batch.correct, batch.wrong)
        return float(faithful + search.weights.completeness * complete)

    (gradient,) = phase.gradients()
    places = torch.cat([gradient.abs().topk(12).indices, torch.arange(0, len(gradient), len(gradient) // 12)])
    for place in places.tolist():
        step = torch.zeros_like(kept)
        step[place] = 1e-5
        slope = (loss(kept + step) - loss(kept - step)) / 2e-5
        assert float(gradient[place]) == pytest.approx(slope, rel=2e-3, abs=2e-6)


@pytest.mark.parametrize("granularity", ["weight", "neuron", "head"])
def test_the_circuit_runs_as_its_carriers_do(model: MaskedTransformer, granularity: str) -> None:
    """The saved masks cover whole units; the search masks the carriers only. Both are the same function."""
    phase, _, batch = phase_of(model, granularity=granularity, initial_logit=0.0, noise=0.0, noise_end=0.0)
    phase.begin(0)
    thresholded = phase.thresholded()
    circuit = Circuit(model.graph, thresholded.edge_mask, weight_masks=thresholded.weight_masks, searched="weights")
    density = circuit.weight_density
    assert density is not None
    assert 0.1 < density < 0.9
    ours = plain_forward(phase._weights, batch.tokens)
    torch.testing.assert_close(run_circuit(model, circuit, batch.tokens), ours, atol=1e-4, rtol=1e-4)
    phase._reverse()
    others = plain_forward(phase._weights, batch.tokens)
    torch.testing.assert_close(run_circuit(model, circuit.complement(), batch.tokens), others, atol=1e-4, rtol=1e-4)


def test_units_are_as_many_as_heads_neurons_and_weights(model: MaskedTransformer) -> None:
    c = model.config
    neurons = c.n_layers * (c.d_mlp + c.d_head * (c.n_heads + 2 * c.n_kv_heads))
    expected = {"weight": model.weights.n_maskable_params, "neuron": neurons, "head": c.n_layers * (c.n_kv_heads + 1)}
    for granularity, n in expected.items():
        phase, _, _ = phase_of(model, granularity=granularity)
        assert phase.units.n_units == n
        assert float(phase.units.sizes().sum()) == phase.units.n_weights


def test_a_phase_continued_from_its_state_goes_on_as_if_nothing_had_happened(model: MaskedTransformer) -> None:
    phase, _, batch = phase_of(model)
    full = full_log_probs(model, batch)
    phase.step(batch, full, 0)
    saved = deepcopy(phase.state())
    other, _, _ = phase_of(model, initial_logit=-3.0)
    other.load_state(saved)
    assert phase.step(batch, full, 1) == other.step(batch, full, 1)
    assert torch.equal(phase.logits, other.logits)


def test_a_phase_that_is_over_frees_its_memory(model: MaskedTransformer) -> None:
    phase, _, batch = phase_of(model)
    phase.step(batch, full_log_probs(model, batch), 0)
    leaf = weakref.ref(phase._masked[0][1])
    del phase
    gc.collect()
    assert leaf() is None


def test_draws_are_uniform_and_depend_on_seed_step_and_place_alone() -> None:
    n = 2**18 + 12_345  # more than a block
    first = draws_of(n, 1, 0)
    assert torch.equal(first, draws_of(n, 1, 0))
    assert torch.equal(first[: 2**18], draws_of(2**18, 1, 0))
    for other in (draws_of(n, 2, 0), draws_of(n, 1, 1), first.roll(2**18), first.roll(1)):
        assert abs(float(torch.corrcoef(torch.stack([first, other]))[0, 1])) < 0.01
    counts = np.histogram(first.numpy(), bins=100, range=(0, 1))[0]
    assert ((counts - n / 100) ** 2 / (n / 100)).sum() < 160  # chi² with 99 degrees of freedom, p ≈ 1e-4


def test_fewer_layers_and_components_leave_the_others_whole(model: MaskedTransformer) -> None:
    phase, _, _ = phase_of(model, layers="1", components="q,mlp")
    masks = phase.thresholded().weight_masks
    assert masks is not None
    assert {name.split(".")[0] for name in masks} == {"a1", "m1"}
    assert {name for name in masks if name.startswith("a")} - {"a1.q.bias"} == {"a1.q"}


def test_a_layer_that_the_model_has_not_is_named(model: MaskedTransformer) -> None:
    from discogp.errors import ConfigError

    with pytest.raises(ConfigError, match="layers is '2-3'; this model has layers 0 to 2"):
        phase_of(model, layers="2-3")


def test_the_seed_alone_decides(model: MaskedTransformer) -> None:
    """The generator, which other phases draw from, changes where logits start and nothing after."""
    phase, search, batch = phase_of(model, initial_spread=0.0)
    other = WeightPhase(model, batch, search, torch.Generator().manual_seed(9))
    third = WeightPhase(model, batch, replace(search, seed=5), torch.Generator().manual_seed(3))
    for one in (phase, other, third):
        one.begin(0)
    assert torch.equal(phase._kept, other._kept)
    assert not torch.equal(phase._kept, third._kept)
