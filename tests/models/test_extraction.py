"""Extracted weights are the model: a plain forward pass gives the logits of transformers and the bridge."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from discogp.models.loading import load_checkpoint
from discogp.models.weights import ModelWeights
from tests.models.plain_forward import plain_logits
from tests.tiny_models import VOCABULARY, build_tiny_gpt2, build_tiny_llama

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 24,
}
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "gpt2": (build_tiny_gpt2, {}),
    "gpt2 untied": (build_tiny_gpt2, {"tie_word_embeddings": False}),
    "gpt2 narrow mlp, exact gelu": (build_tiny_gpt2, {"n_inner": 40, "activation_function": "gelu"}),
    "llama grouped": (build_tiny_llama, {}),
    "llama tied": (build_tiny_llama, {"tie_word_embeddings": True}),
    "llama ungrouped": (build_tiny_llama, {"num_key_value_heads": 4}),
    "llama one shared head": (build_tiny_llama, {"num_key_value_heads": 1}),
    "llama biases": (build_tiny_llama, {"attention_bias": True, "mlp_bias": True}),
    "llama wide heads": (build_tiny_llama, {"head_dim": 12}),
    "llama rope llama3": (build_tiny_llama, {"rope_parameters": LLAMA3}),
    "llama rope linear": (
        build_tiny_llama,
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0}},
    ),
}


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, VOCABULARY, (3, 40), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("case", CASES)
def test_plain_forward_equals_transformers_and_bridge(case: str, tmp_path: Path, tokens: torch.Tensor) -> None:
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module
    from transformers import AutoModelForCausalLM

    build, settings = CASES[case]
    folder = build(tmp_path / "model", **settings)
    own = plain_logits(load_checkpoint(folder).weights, tokens)
    module: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    module.eval()
    with torch.no_grad():
        reference = module(tokens).logits
        bridge = build_bridge_from_module(module, module.config.architectures[0], hf_config=module.config)
        bridged = bridge(tokens)
    assert reference.std() > 0.1  # otherwise closeness would say nothing
    torch.testing.assert_close(own, reference, atol=1e-4, rtol=0)
    torch.testing.assert_close(own, bridged, atol=1e-4, rtol=0)


def _tensors(weights: ModelWeights) -> list[torch.Tensor]:
    return [t for part in (weights, *weights.layers) for _, t in part.named_tensors()]


@pytest.mark.parametrize("case", CASES)
def test_tensors_are_plain_fp32_and_counted(case: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    build, settings = CASES[case]
    folder = build(tmp_path / "model", **settings)
    weights = load_checkpoint(folder).weights
    for tensor in _tensors(weights):
        assert tensor.dtype == torch.float32
        assert not tensor.requires_grad
        assert tensor.is_contiguous() or tensor is weights.unembed
    module = AutoModelForCausalLM.from_pretrained(folder)
    assert weights.n_params == module.num_parameters()
    assert weights.tied == bool(module.config.tie_word_embeddings)
    outside = ("norm", "ln_", "embed", "wte", "wpe", "lm_head")
    maskable = sum(p.numel() for name, p in module.named_parameters() if not any(word in name for word in outside))
    assert weights.n_maskable_params == maskable


def test_rotary_frequencies_equal_those_of_transformers(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    for number, rope in enumerate(({"rope_type": "default", "rope_theta": 100000.0}, LLAMA3)):
        folder = build_tiny_llama(tmp_path / str(number), rope_parameters=rope, head_dim=32)
        own = load_checkpoint(folder).weights.config.rotary_frequencies()
        theirs = AutoModelForCausalLM.from_pretrained(folder).model.rotary_emb.inv_freq
        torch.testing.assert_close(own, theirs, rtol=1e-6, atol=0)


def test_half_precision_checkpoint_is_read_as_single(tmp_path: Path, tokens: torch.Tensor) -> None:
    from transformers import AutoModelForCausalLM

    module = AutoModelForCausalLM.from_pretrained(build_tiny_llama(tmp_path / "single")).half()
    module.save_pretrained(tmp_path / "half")
    weights = load_checkpoint(tmp_path / "half").weights
    # Read again: half() has rounded the rotary frequencies as well, which a checkpoint does not hold.
    module = AutoModelForCausalLM.from_pretrained(tmp_path / "half", dtype=torch.float32)
    assert weights.embed.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(plain_logits(weights, tokens), module(tokens).logits, atol=1e-4, rtol=0)


def test_move_and_cast_keep_a_tied_unembedding_tied(tmp_path: Path) -> None:
    weights = load_checkpoint(build_tiny_gpt2(tmp_path / "model")).weights
    assert weights.tied
    cast = weights.to(dtype=torch.float64)
    assert cast.tied
    assert all(tensor.dtype == torch.float64 for tensor in _tensors(cast))
    assert weights.embed.dtype == torch.float32
    assert weights.to("cpu").embed.data_ptr() == weights.embed.data_ptr()


def test_records_are_frozen(tmp_path: Path) -> None:
    weights = load_checkpoint(build_tiny_gpt2(tmp_path / "model")).weights
    with pytest.raises(dataclasses.FrozenInstanceError):
        weights.config.n_layers = 1  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        weights.layers[0].q = weights.layers[1].q  # type: ignore[misc]
