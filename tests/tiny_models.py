"""Tiny, randomly initialised models in the shape of real ones, saved as folders.

The weights are larger than an initialisation would make them, biases are not zero and norm gains not one, so
that every weight, bias and edge changes the logits and a mistake in any of them shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

VOCABULARY = 97


LLAMA: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 48,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}
_NEO: dict[str, Any] = {key: LLAMA[key] for key in LLAMA if key not in ("num_key_value_heads", "rope_parameters")}
# Windows are shorter than the tests' prompts, and caps low enough to bend scores.
TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT2LMHeadModel": (
        "GPT2Config",
        {
            "vocab_size": VOCABULARY,
            "n_positions": 48,
            "n_embd": 32,
            "n_layer": 3,
            "n_head": 4,
            "bos_token_id": 0,
            "eos_token_id": 0,
        },
    ),
    "GPTNeoForCausalLM": (
        "GPTNeoConfig",
        {
            **{key: value for key, value in _NEO.items() if not key.startswith("num_")},
            "num_layers": 3,
            "num_heads": 4,
            "window_size": 3,
            "attention_types": [[["global", "local"], 1], [["local"], 1]],
        },
    ),
    "GPTNeoXForCausalLM": (
        "GPTNeoXConfig",
        _NEO | {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}},
    ),
    "OPTForCausalLM": (
        "OPTConfig",
        {key: value for key, value in _NEO.items() if key != "intermediate_size"} | {"ffn_dim": 48},
    ),
    "LlamaForCausalLM": ("LlamaConfig", LLAMA),
    "MistralForCausalLM": ("MistralConfig", LLAMA | {"sliding_window": 3}),
    "Qwen2ForCausalLM": (
        "Qwen2Config",
        LLAMA | {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 2},
    ),
    "Qwen3ForCausalLM": ("Qwen3Config", LLAMA | {"head_dim": 12}),
    "GemmaForCausalLM": ("GemmaConfig", LLAMA | {"head_dim": 12}),
    "Gemma2ForCausalLM": (
        "Gemma2Config",
        LLAMA
        | {
            "head_dim": 12,
            "sliding_window": 3,
            "query_pre_attn_scalar": 10,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
        },
    ),
    "Gemma3ForCausalLM": (
        "Gemma3TextConfig",
        LLAMA
        | {
            "head_dim": 12,
            "sliding_window": 3,
            "query_pre_attn_scalar": 10,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 5000.0, "factor": 8.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            },
        },
    ),
    "Phi3ForCausalLM": (
        "Phi3Config",
        LLAMA
        | {
            "sliding_window": 3,
            "original_max_position_embeddings": 40,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 500.0,
                "partial_rotary_factor": 0.5,
                "short_factor": [1.0, 1.3],
                "long_factor": [1.5, 4.0],
            },
        },
    ),
}


def build_tiny(architecture: str, folder: Path, seed: int = 0, *, tokenizer: bool = False, **settings: Any) -> Path:
    """Save a model of 3 layers, 4 query heads (2 of keys and values where they are grouped), width 32; `settings`
    override its config. Returns `folder`."""
    import transformers

    config_class, base = TINY[architecture]
    config = getattr(transformers, config_class)(**(base | settings))
    return _save(getattr(transformers, architecture)(config), folder, seed, tokenizer)


def build_tiny_gpt2(folder: Path, seed: int = 0, *, tokenizer: bool = False, **settings: Any) -> Path:
    return build_tiny("GPT2LMHeadModel", folder, seed, tokenizer=tokenizer, **settings)


def build_tiny_llama(folder: Path, seed: int = 0, *, tokenizer: bool = False, **settings: Any) -> Path:
    return build_tiny("LlamaForCausalLM", folder, seed, tokenizer=tokenizer, **settings)


def _save(model: Any, folder: Path, seed: int, tokenizer: bool) -> Path:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_gain = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.2 * noise if is_gain else 0.2 * noise)
    folder = Path(folder)
    model.save_pretrained(folder)
    if tokenizer:
        _tiny_tokenizer().save_pretrained(folder)
    return folder


def _tiny_tokenizer() -> Any:
    """Whole words: an opening token, then `w1` … `w96`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<|endoftext|>": 0} | {f"w{i}": i for i in range(1, VOCABULARY)}
    backend = Tokenizer(models.WordLevel(words, unk_token="<|endoftext|>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )
