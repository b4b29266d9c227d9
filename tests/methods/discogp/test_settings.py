"""Settings: one default in one place, checked, written and read back."""

from __future__ import annotations

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


def test_schedules() -> None:
    phase = PhaseConfig(steps=101, sparsity_start=1, sparsity_peak=100, sparsity_end=0.01, rise=0.2, fall=0.2)
    assert phase.sparsity_at(0) == 1
    assert phase.sparsity_at(10) == pytest.approx(50.5)
    assert phase.sparsity_at(20) == pytest.approx(100)
    assert phase.sparsity_at(40) == phase.sparsity_at(100) == pytest.approx(0.01)
    late = PhaseConfig(steps=10, completeness=2.0, completeness_from=0.5)
    assert [late.completeness_at(i) for i in (0, 4, 5, 9)] == [0, 0, 2, 2]
    assert PhaseConfig(steps=11, noise=1.0, noise_end=0.0).noise_at(5) == pytest.approx(0.5)


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
