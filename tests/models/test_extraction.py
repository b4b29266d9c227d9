"""Extracted weights are the model: the unmasked forward pass gives the logits of transformers and the bridge."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from discogp.engine.plain import plain_forward
from discogp.models.families.table import ARCHITECTURES
from discogp.models.loading import load_checkpoint
from discogp.models.weights import ModelWeights
from tests.tiny_models import TINY, VOCABULARY, build_tiny, build_tiny_gpt2, build_tiny_llama

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 24,
}
LINEAR = {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0}
PLAIN = {"rope_type": "default", "rope_theta": 500.0}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 500.0,
    "short_factor": [1.0, 1.1, 1.2, 1.9],
    "long_factor": [2.0] * 4,
}
# Every row of the table as it is in `TINY`, and the settings in which checkpoints of one family differ.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in ARCHITECTURES},
    "gpt2 untied": ("GPT2LMHeadModel", {"tie_word_embeddings": False}),
    "gpt2 narrow mlp, exact gelu": ("GPT2LMHeadModel", {"n_inner": 40, "activation_function": "gelu"}),
    "neo, all global": ("GPTNeoForCausalLM", {"attention_types": [[["global"], 3]]}),
    "neox in turn": ("GPTNeoXForCausalLM", {"use_parallel_residual": False, "hidden_act": "gelu_new"}),
    "neox, a quarter rotated, tied": (
        "GPTNeoXForCausalLM",
        {"rope_parameters": PLAIN | {"partial_rotary_factor": 0.25}, "tie_word_embeddings": True},
    ),
    "opt without biases": ("OPTForCausalLM", {"enable_bias": False, "activation_function": "gelu"}),
    "llama tied": ("LlamaForCausalLM", {"tie_word_embeddings": True}),
    "llama ungrouped": ("LlamaForCausalLM", {"num_key_value_heads": 4}),
    "llama one shared head": ("LlamaForCausalLM", {"num_key_value_heads": 1}),
    "llama biases": ("LlamaForCausalLM", {"attention_bias": True, "mlp_bias": True}),
    "llama wide heads": ("LlamaForCausalLM", {"head_dim": 12}),
    "llama rope llama3": ("LlamaForCausalLM", {"rope_parameters": LLAMA3}),
    "llama rope linear": ("LlamaForCausalLM", {"rope_parameters": LINEAR}),
    "mistral without a window": ("MistralForCausalLM", {"sliding_window": None, "head_dim": 12}),
    "qwen2 without windows": ("Qwen2ForCausalLM", {"use_sliding_window": False, "tie_word_embeddings": True}),
    "qwen3 biases": ("Qwen3ForCausalLM", {"attention_bias": True}),
    "gemma ungrouped": ("GemmaForCausalLM", {"num_key_value_heads": 4, "tie_word_embeddings": False}),
    "gemma2 without caps": ("Gemma2ForCausalLM", {"attn_logit_softcapping": None, "final_logit_softcapping": None}),
    "gemma3 capped logits": ("Gemma3ForCausalLM", {"final_logit_softcapping": 2.0}),
    "phi3 plain": ("Phi3ForCausalLM", {"sliding_window": None, "rope_parameters": PLAIN}),
    "phi3 longrope": ("Phi3ForCausalLM", {"rope_parameters": LONGROPE, "original_max_position_embeddings": 40}),
    "phi3 longrope, factor stated": ("Phi3ForCausalLM", {"rope_parameters": LONGROPE | {"attention_factor": 1.4}}),
}


def test_every_architecture_has_a_tiny_model() -> None:
    assert sorted(TINY) == list(ARCHITECTURES)


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, VOCABULARY, (3, 40), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("case", CASES)
def test_plain_forward_equals_transformers_and_bridge(case: str, tmp_path: Path, tokens: torch.Tensor) -> None:
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module
    from transformers import AutoModelForCausalLM

    architecture, settings = CASES[case]
    folder = build_tiny(architecture, tmp_path / "model", tokenizer=True, **settings)
    own = plain_forward(load_checkpoint(folder).weights, tokens)
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

    architecture, settings = CASES[case]
    folder = build_tiny(architecture, tmp_path / "model", **settings)
    weights = load_checkpoint(folder).weights
    for tensor in _tensors(weights):
        assert tensor.dtype == torch.float32
        assert not tensor.requires_grad
        assert tensor.is_contiguous() or tensor is weights.unembed
    module = AutoModelForCausalLM.from_pretrained(folder)
    unused = 2 * 32 if architecture == "OPTForCausalLM" else 0  # two rows of positions that no prompt has
    assert weights.n_params == module.num_parameters() - unused
    assert weights.tied == bool(module.config.tie_word_embeddings)
    outside = ("norm", "ln_", "embed", "wte", "wpe", "lm_head", "embed_in")
    maskable = sum(p.numel() for name, p in module.named_parameters() if not any(word in name for word in outside))
    assert weights.n_maskable_params == maskable


def test_rotary_frequencies_equal_those_of_transformers(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    for number, rope in enumerate(({"rope_type": "default", "rope_theta": 100000.0}, LLAMA3)):
        folder = build_tiny_llama(tmp_path / str(number), rope_parameters=rope, head_dim=32)
        rotary = load_checkpoint(folder).weights.layers[0].attention.rotary
        assert rotary is not None
        own = rotary.frequencies()
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
        torch.testing.assert_close(plain_forward(weights, tokens), module(tokens).logits, atol=1e-4, rtol=0)


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
