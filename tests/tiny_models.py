"""Tiny, randomly initialised models in the shape of real ones, saved as folders.

The weights are larger than an initialisation would make them, biases are not zero and norm gains not one, so
that every weight, bias and edge changes the logits and a mistake in any of them shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

VOCABULARY = 97


def build_tiny_gpt2(folder: Path, seed: int = 0, *, tokenizer: bool = False, **settings: Any) -> Path:
    """Save a GPT-2 of 3 layers, 4 heads, width 32; `settings` override its config. Returns `folder`."""
    from transformers import GPT2Config, GPT2LMHeadModel

    base: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "n_positions": 48,
        "n_embd": 32,
        "n_layer": 3,
        "n_head": 4,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return _save(GPT2LMHeadModel(GPT2Config(**(base | settings))), folder, seed, tokenizer)


def build_tiny_llama(folder: Path, seed: int = 0, *, tokenizer: bool = False, **settings: Any) -> Path:
    """Save a Llama of 3 layers, 4 query and 2 key/value heads, width 32, untied. Returns `folder`."""
    from transformers import LlamaConfig, LlamaForCausalLM

    base: dict[str, Any] = {
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
    }
    return _save(LlamaForCausalLM(LlamaConfig(**(base | settings))), folder, seed, tokenizer)


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
