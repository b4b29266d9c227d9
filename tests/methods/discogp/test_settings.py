"""Settings: one default in one place, checked, written and read back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from discogp.errors import ConfigError
from discogp.methods.discogp.settings import (
    PRESETS,
    PhaseConfig,
    SearchConfig,
    WeightConfig,
    config_from_dict,
    config_to_dict,
    preset,
)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("mask", ["edges", "weights", "both"])
@pytest.mark.parametrize("n_edges", [1_000, 32_491, 123_211])
def test_presets_survive_a_round_trip(name: str, mask: str, n_edges: int) -> None:
    config = preset(name, mask, n_edges, seed=3)
    assert config.mask == mask
    assert config.seed == 3
    assert config_from_dict(config_to_dict(config)) == config


def test_a_deep_models_edges_take_half_the_prompts_and_end_at_a_small_circuit_but_for_the_thorough() -> None:
    shallow, deep = 1_519, 123_211
    assert [preset("balanced", mask, deep).batch_size for mask in ("edges", "weights", "both")] == [8, 16, 16]
    ends = {name: preset(name, "edges", deep).edges.target_density for name in ("quick", "balanced", "thorough")}
    assert ends == {"quick": 0.03, "balanced": 0.03, "thorough": 0.0}
    assert preset("balanced", "edges", shallow).edges.target_density == 0.0
    assert preset("paper", "edges", deep).edges.target_density == 0.0


def test_the_papers_preset_has_the_papers_settings() -> None:
    """arXiv 2407.03779: lr 0.1, initial logit 1.0 ± 0.01, τ 1.0 (edges) and 0.01 (weights), λ_c 1."""
    config = preset("paper", "both", 123_211)
    assert config.objective == "task"
    for phase, temperature, peak in ((config.edges, 1.0, 100.0), (config.weights, 0.01, 1000.0)):
        assert phase.learning_rate == 0.1
        assert (phase.initial_logit, phase.initial_spread) == (1.0, 0.01)
        assert phase.temperature == temperature
        assert phase.noise == phase.noise_end == 1.0
        assert phase.sparsity_peak == peak
        assert phase.completeness == 1.0
        assert phase.attribution_span == 0.0


RISE_FALL = PhaseConfig(steps=101, sparsity_start=1, sparsity_peak=100, sparsity_end=0.01, rise=0.2, fall=0.2)
RISE = PhaseConfig(steps=11, sparsity_start=2, sparsity_peak=10, sparsity_end=99, rise=0.8, fall=0.0)


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        (RISE_FALL, {0: 1, 10: 50.5, 20: 100, 25: 75.0025, 30: 50.005, 40: 0.01, 70: 0.01, 100: 0.01}),
        (RISE, {0: 2, 4: 6, 8: 10, 9: 10, 10: 10}),  # without a fall, the peak is held and the end never reached
        (replace(RISE, rise=0.0), {0: 10, 5: 10, 10: 10}),
        (replace(RISE, rise=0.0, fall=1.0), {0: 10, 5: 54.5, 10: 99}),
        (replace(RISE, rise=1.0), {0: 2, 5: 6, 10: 10}),
        (replace(RISE, steps=1), {0: 2}),
    ],
)
def test_the_weight_of_sparsity_rises_then_falls_then_stays(phase: PhaseConfig, expected: dict[int, float]) -> None:
    assert {step: phase.sparsity_at(step) for step in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("steps", "begin", "expected"),
    [
        (10, 0.0, {0: 2, 9: 2}),
        (10, 0.5, {0: 0, 4: 0, 5: 2, 9: 2}),
        (10, 0.25, {2: 0, 3: 2}),
        (10, 1.0, {0: 0, 9: 0}),
        (1, 0.0, {0: 2}),
    ],
)
def test_completeness_counts_from_a_step_on(steps: int, begin: float, expected: dict[int, float]) -> None:
    phase = PhaseConfig(steps=steps, completeness=2.0, completeness_from=begin)
    assert {step: phase.completeness_at(step) for step in expected} == expected


@pytest.mark.parametrize(
    ("steps", "noise", "end", "expected"),
    [
        (11, 1.0, 0.0, {0: 1.0, 5: 0.5, 10: 0.0}),
        (11, 0.2, 0.6, {0: 0.2, 1: 0.24, 10: 0.6}),
        (5, 0.7, 0.7, {0: 0.7, 4: 0.7}),
        (1, 0.5, 0.1, {0: 0.5}),
    ],
)
def test_noise_goes_straight_from_start_to_end(
    steps: int, noise: float, end: float, expected: dict[int, float]
) -> None:
    phase = PhaseConfig(steps=steps, noise=noise, noise_end=end)
    assert {step: phase.noise_at(step) for step in expected} == pytest.approx(expected)


def test_a_polish_has_settings_of_its_own_after_the_last_step() -> None:
    phase = PhaseConfig(
        steps=10, learning_rate_end=0.5, learning_rate=0.4, noise=0.9, noise_end=0.7, sparsity_peak=50.0, polish=3,
        polish_noise=0.1, polish_sparsity=7.0, polish_learning_rate=0.3, completeness=2.0, completeness_from=0.5,
    )  # fmt: skip
    assert phase.all_steps == 13
    assert [phase.polishes(step) for step in (0, 9, 10, 12)] == [False, False, True, True]
    assert [phase.noise_at(step) for step in (9, 10, 12)] == pytest.approx([0.7, 0.1, 0.1])
    assert [phase.sparsity_at(step) for step in (9, 10, 12)] == pytest.approx([50.0, 7.0, 7.0])
    assert [phase.learning_rate_at(step) for step in (9, 10, 12)] == pytest.approx([0.2, 0.3, 0.3])
    assert [phase.completeness_at(step) for step in (9, 10, 12)] == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("steps", "polish", "evaluations", "expected"),
    [
        (10, 0, 5, {2, 4, 6, 8, 10}),
        (10, 4, 5, {2, 4, 6, 8, 10, 12, 14}),
        (10, 3, 5, {2, 4, 6, 8, 10, 12, 13}),
        (200, 60, 14, {*(round(200 * i / 14) for i in range(1, 19)), 260}),
        (3, 2, 100, {0, 1, 2, 3, 4, 5}),
        (1, 100_000, 1000, set(range(100_002))),
    ],
)
def test_circuits_are_scored_at_one_pace_and_at_the_end(
    steps: int, polish: int, evaluations: int, expected: set[int]
) -> None:
    assert PhaseConfig(steps=steps, polish=polish).evaluated_at(evaluations) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"speed": 1}, "no setting 'speed'; allowed: mask"),
        ({"edges": {"step": 1}}, "no setting 'step' of edges; allowed: steps"),
        ({"edges": 3}, "settings of edges are 3"),
        ({"mask": "nodes"}, "mask is 'nodes'; allowed: edges, weights, both"),
        ({"batch_size": 0}, "batch_size is 0; it must be between 1 and 4096"),
        ({"batch_size": 1.5}, "batch_size is 1.5; give a whole number"),
        ({"batch_size": True}, "batch_size is True; give a whole number"),
        ({"edges": {"learning_rate": float("nan")}}, "learning_rate is nan; it must be between"),
        ({"weights": {"granularity": "layer"}}, "granularity is 'layer'; allowed: weight, neuron, head"),
        ({"edges": {"granularity": "head"}}, "no setting 'granularity' of edges"),
        ({"weights": {"layers": "4-x"}}, "layers is '4-x'; write all, a range such as 4-7"),
        ({"weights": {"layers": "7-4"}}, "layers is '7-4'"),
        ({"weights": {"layers": ""}}, "layers is ''"),
        ({"weights": {"components": "heads"}}, "components is 'heads'; allowed, with commas between: all, attention"),
        ({"weights": {"components": "q,k", "granularity": "neuron"}}, "but by neuron weights are searched together"),
        ({"edges": {"learning_rate": "fast"}}, "learning_rate is 'fast'; give a number"),
    ],
)
def test_what_is_wrong_is_named(data: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", "\\(")):
        config_from_dict(data)


def test_unknown_presets_are_refused() -> None:
    with pytest.raises(ConfigError, match="quick, balanced, thorough, paper"):
        preset("fastest")


def test_every_setting_explains_itself() -> None:
    for cls in (SearchConfig, PhaseConfig, WeightConfig):
        for name, field in cls.__dataclass_fields__.items():
            assert field.metadata.get("help"), name
