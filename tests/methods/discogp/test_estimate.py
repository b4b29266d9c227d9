"""Estimates: as near to what is then used as they claim, and a search that cannot fit is refused with what would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.engine.memory import available_mb
from discogp.errors import ConfigError
from discogp.methods.discogp import estimate as estimating
from discogp.methods.discogp.estimate import estimate, fitting, measured
from discogp.methods.discogp.settings import EdgeConfig, SearchConfig, preset
from discogp.prompts.prepare import TaskData
from discogp.runs.launch import GIVES_BACK
from discogp.speed.shapes import Shape, _llama
from discogp.tasks import Example, Prompts
from tests.places import ROOT
from tests.random_task import random_data
from tests.tiny_models import build_tiny_gpt2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MaskedTransformer:
    return load_model(build_tiny_gpt2(tmp_path_factory.mktemp("gpt2")))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mask", "settings"),
    [
        ("edges", {}),
        ("edges", {"recompute": True}),
        ("edges", {"ablation": "resample"}),
        ("weights", {}),
        ("weights", {"recompute": True}),
    ],
)
def test_memory_is_within_15_percent_of_what_is_used(mask: str, settings: dict[str, object]) -> None:
    wanted: dict[str, object] = {"model": "mini", "task": "ioi", "mask": mask, "settings": settings}
    told = told_and_measured(wanted | {"batch": 256, "train": 256, "validation": 128})
    assert told["memory_mb"] == pytest.approx(told["measured_mb"], rel=0.15)


# Llama-3.1-8B with an eighth of every dimension.
_SMALL_LLAMA = {
    "n_layers": 4, "n_heads": 4, "n_kv_heads": 1, "d_model": 512, "d_mlp": 1792, "d_vocab": 16_032, "batch": 64
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_memory_is_as_told_where_a_model_is_large(precision: str) -> None:
    settings = {"recompute": True, "precision": precision}
    wanted = {"shape": _SMALL_LLAMA, "length": 32, "mask": "edges", "settings": settings}
    told = told_and_measured(wanted | {"batch": 64, "train": 64, "validation": 64})
    assert told["memory_mb"] == pytest.approx(told["measured_mb"], rel=0.15)


def test_the_shape_of_llama_8b_can_be_searched_on_one_large_gpu() -> None:
    """2 × 32 tokens in bf16 with recompute, beside the model: from the sizes alone, no weight has a value."""
    shape = Shape(32, 32, 4096, 14336, 128_256, 2, n_kv_heads=8)
    weights = _llama(shape, lambda *size: torch.empty(*size, device="meta", dtype=torch.bfloat16))
    model = MaskedTransformer(weights, "Llama-3.1-8B's shape")
    examples = (Example("x", None, (" a",), (" b",)),) * 64
    one = Prompts(
        *(torch.ones(size, dtype=torch.long) for size in ((64, 32), (64,), (64, 32), (64, 1), (64, 1))), examples
    )
    data = TaskData(one, one, one, task_name="random", full_accuracy=1.0, kept_share=1.0)
    config = replace(
        preset("balanced", "edges", model.graph.n_edges), batch_size=2, micro_batch=2, precision="bf16", recompute=True
    )
    assert 20_000 < estimate(model, data, config, memory_limit_mb=80_000).memory_mb < 72_000


def told_and_measured(wanted: dict[str, object]) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.measured_search", json.dumps(wanted)]
    environment = {**os.environ, **GIVES_BACK}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_the_largest_micro_batch_that_fits_is_taken(model: MaskedTransformer) -> None:
    data, config = random_data(model), SearchConfig(batch_size=12)
    whole = estimate(model, data, config)
    assert whole.micro_batch == 12
    assert fitting(model, data, config) == config
    tight = estimate(model, data, config, memory_limit_mb=whole.memory_mb)
    assert tight.micro_batch < 12
    assert fitting(model, data, config, whole.memory_mb).micro_batch == tight.micro_batch
    assert estimate(model, data, replace(config, recompute=True)).memory_mb < whole.memory_mb


def test_what_cannot_fit_is_refused_with_what_would(model: MaskedTransformer) -> None:
    data, config = random_data(model), SearchConfig(mask="both", batch_size=12, micro_batch=12)
    one = estimate(model, data, replace(config, micro_batch=1)).memory_mb
    with pytest.raises(ConfigError, match="micro_batch=1"):
        fitting(model, data, config, one / 0.8)
    with pytest.raises(ConfigError, match="smaller model"):
        fitting(model, data, config, 0.001)


def test_time_is_that_of_real_steps_and_leaves_the_model_alone(model: MaskedTransformer) -> None:
    data = random_data(model)
    config = SearchConfig(batch_size=4, evaluations=1, edges=EdgeConfig(steps=10))
    before = model.weights.embed.clone()
    short = measured(model, data, config, estimate(model, data, config)).seconds
    long = measured(model, data, replace(config, edges=EdgeConfig(steps=10_000)), estimate(model, data, config)).seconds
    assert short is not None
    assert long is not None
    assert long > 20 * short > 0
    polished = replace(config, edges=EdgeConfig(steps=10, polish=10_000))
    assert (measured(model, data, polished, estimate(model, data, polished)).seconds or 0) > 20 * short
    assert (model.weights.embed == before).all()


def test_evaluations_of_a_polish_take_their_time(model: MaskedTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_data(model)
    monkeypatch.setattr(estimating, "_step_seconds", lambda *_: 0.0)
    monkeypatch.setattr(estimating, "_evaluation_seconds", lambda *_: 1000.0)
    config = SearchConfig(batch_size=4, evaluations=5, edges=EdgeConfig(steps=10, polish=3))
    seconds = measured(model, data, config, estimate(model, data, config)).seconds
    assert seconds is not None
    assert seconds // 1000 == 7, "after 2, 4, 6, 8 and 10 steps, 12, and at the end"


def test_free_memory_is_a_sensible_number(model: MaskedTransformer) -> None:
    assert 100 < available_mb(model.device) < 10_000_000
