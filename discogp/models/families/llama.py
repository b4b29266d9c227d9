"""Llama and the families in its shape: Mistral, Qwen 2 and 3, Phi-3.

RMSNorm before attention and MLP, rotary positions, a gated MLP; keys and values may have fewer heads than queries.
`llama_shaped` reads them all, and Gemma (`gemma`), from a few choices that differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from discogp.models.families.reading import Parameters, Reader, activation, setting_error, unembedding, window
from discogp.models.families.rope import longest_prompt, rotary
from discogp.models.families.table import Architecture, register
from discogp.models.weights import AttentionConfig, LayerWeights, ModelConfig, ModelWeights


@dataclass(frozen=True)
class Choices:
    """Where the families of this shape differ. `attention`: one entry a layer."""

    attention: tuple[AttentionConfig, ...]
    activation_key: str = "hidden_act"
    norms: tuple[str, str] = ("input_layernorm", "post_attention_layernorm")
    """The norms before attention and MLP."""
    post_norms: tuple[str, str] | None = None
    """The norms after attention and MLP."""
    norm_offset: float = 0.0
    """What is added to the gains of every norm."""
    query_key_norms: bool = False
    embed_scale: float = 1.0
    logit_cap: float | None = None


def extract_llama(hf: Any, parameters: Parameters) -> ModelWeights:
    name = "LlamaForCausalLM"
    every = AttentionConfig(rotary=rotary(name, hf, head_size(hf)))
    return llama_shaped(name, hf, parameters, Choices((every,) * hf.num_hidden_layers))


def extract_mistral(hf: Any, parameters: Parameters) -> ModelWeights:
    """Every layer sees a window, if any does."""
    name = "MistralForCausalLM"
    turn = rotary(name, hf, head_size(hf))
    every = AttentionConfig(rotary=turn, window=window(name, hf, "sliding_window"))
    return llama_shaped(name, hf, parameters, Choices((every,) * hf.num_hidden_layers))


def extract_qwen2(hf: Any, parameters: Parameters) -> ModelWeights:
    """Queries, keys and values have biases."""
    name = "Qwen2ForCausalLM"
    turn = rotary(name, hf, head_size(hf))
    attention = tuple(AttentionConfig(rotary=turn, window=seen) for seen in layer_windows(name, hf))
    return llama_shaped(name, hf, parameters, Choices(attention))


def extract_qwen3(hf: Any, parameters: Parameters) -> ModelWeights:
    """Queries and keys of each head are normed before they are rotated."""
    name = "Qwen3ForCausalLM"
    turn = rotary(name, hf, head_size(hf))
    attention = tuple(AttentionConfig(rotary=turn, window=seen) for seen in layer_windows(name, hf))
    return llama_shaped(name, hf, parameters, Choices(attention, query_key_norms=True))


def extract_phi3(hf: Any, parameters: Parameters) -> ModelWeights:
    """Queries, keys and values lie in one matrix, and so do the two halves of the gated MLP."""
    name = "Phi3ForCausalLM"
    dh, d = head_size(hf), hf.hidden_size
    turn = rotary(name, hf, dh, partial=True)
    every = AttentionConfig(rotary=turn, window=window(name, hf, "sliding_window"))
    n_q, n_kv, n_mlp = dh * hf.num_attention_heads, dh * hf.num_key_value_heads, hf.intermediate_size
    read, apart = Reader(parameters), dict(parameters)
    for index in range(hf.num_hidden_layers):
        prefix = f"model.layers.{index}."
        fused = read(f"{prefix}self_attn.qkv_proj.weight", n_q + 2 * n_kv, d).split([n_q, n_kv, n_kv])
        halves = read(f"{prefix}mlp.gate_up_proj.weight", 2 * n_mlp, d).chunk(2)
        for part, tensor in zip(("q_proj", "k_proj", "v_proj"), fused, strict=True):
            apart[f"{prefix}self_attn.{part}.weight"] = tensor
        for part, tensor in zip(("gate_proj", "up_proj"), halves, strict=True):
            apart[f"{prefix}mlp.{part}.weight"] = tensor
    return llama_shaped(name, hf, apart, Choices((every,) * hf.num_hidden_layers))


def head_size(hf: Any) -> int:
    return getattr(hf, "head_dim", None) or hf.hidden_size // hf.num_attention_heads


def layer_windows(name: str, hf: Any) -> tuple[int | None, ...]:
    """The window of each layer, of a configuration that names the kind of every layer."""
    wide = window(name, hf, "sliding_window")
    if len(hf.layer_types) != hf.num_hidden_layers:
        raise setting_error(name, "layer_types", hf.layer_types, f"one entry for each of {hf.num_hidden_layers} layers")
    for index, kind in enumerate(hf.layer_types):
        if kind not in ("full_attention", "sliding_attention"):
            raise setting_error(name, f"layer_types[{index}]", kind, "full_attention, sliding_attention")
    if wide is None and "sliding_attention" in hf.layer_types:
        raise setting_error(name, "sliding_window", wide, "a positive whole number where a layer slides")
    return tuple(wide if kind == "sliding_attention" else None for kind in hf.layer_types)


def llama_shaped(name: str, hf: Any, parameters: Parameters, choices: Choices) -> ModelWeights:
    d = hf.hidden_size
    config = ModelConfig(
        family=hf.model_type,
        n_layers=hf.num_hidden_layers,
        n_heads=hf.num_attention_heads,
        n_kv_heads=hf.num_key_value_heads,
        d_model=d,
        d_head=head_size(hf),
        d_mlp=hf.intermediate_size,
        d_vocab=hf.vocab_size,
        max_positions=longest_prompt(hf),
        norm="rms",
        norm_eps=float(hf.rms_norm_eps),
        activation=activation(name, hf, choices.activation_key),
        gated=True,
        post_norms=choices.post_norms is not None,
        embed_scale=choices.embed_scale,
        logit_cap=choices.logit_cap,
    )
    read = Reader(parameters)

    embed = read("model.embed_tokens.weight", config.d_vocab, d)
    return ModelWeights(
        config=config,
        embed=embed,
        positions=None,
        layers=tuple(
            _layer(read.under(f"model.layers.{i}."), config, choices, attention)
            for i, attention in zip(range(config.n_layers), choices.attention, strict=True)
        ),
        final_norm=_gain(read, choices, "model.norm", d),
        final_norm_bias=None,
        unembed=unembedding(read, "lm_head", embed, hf),
    )


def _gain(block: Reader, choices: Choices, which: str, size: int) -> Tensor:
    return block(f"{which}.weight", size) + choices.norm_offset


def _layer(block: Reader, config: ModelConfig, choices: Choices, attention: AttentionConfig) -> LayerWeights:
    d, heads, dh, d_mlp = config.d_model, config.n_heads, config.d_head, config.d_mlp
    shared = config.n_kv_heads
    after = choices.post_norms
    own_norms = choices.query_key_norms
    return LayerWeights(
        norm1=_gain(block, choices, choices.norms[0], d),
        norm1_bias=None,
        q=block.into_heads("self_attn.q_proj", heads, dh, d),
        k=block.into_heads("self_attn.k_proj", shared, dh, d),
        v=block.into_heads("self_attn.v_proj", shared, dh, d),
        o=block.out_of_heads("self_attn.o_proj", heads, dh, d),
        q_bias=block.head_biases("self_attn.q_proj", heads, dh),
        k_bias=block.head_biases("self_attn.k_proj", shared, dh),
        v_bias=block.head_biases("self_attn.v_proj", shared, dh),
        o_bias=block.optional("self_attn.o_proj.bias", d),
        norm2=_gain(block, choices, choices.norms[1], d),
        norm2_bias=None,
        mlp_in=block.linear("mlp.up_proj", d_mlp, d),
        mlp_in_bias=block.optional("mlp.up_proj.bias", d_mlp),
        mlp_gate=block.linear("mlp.gate_proj", d_mlp, d),
        mlp_gate_bias=block.optional("mlp.gate_proj.bias", d_mlp),
        mlp_out=block.linear("mlp.down_proj", d, d_mlp),
        mlp_out_bias=block.optional("mlp.down_proj.bias", d),
        norm_q=_gain(block, choices, "self_attn.q_norm", dh) if own_norms else None,
        norm_k=_gain(block, choices, "self_attn.k_norm", dh) if own_norms else None,
        norm_after_attention=_gain(block, choices, after[0], d) if after else None,
        norm_after_mlp=_gain(block, choices, after[1], d) if after else None,
        attention=attention,
    )


register(
    Architecture(
        "LlamaForCausalLM",
        "llama",
        "Llama",
        extract_llama,
        "Llama 1 to 3, SmolLM and SmolLM2, TinyLlama, models in that shape; grouped keys and values",
    )
)
register(Architecture("MistralForCausalLM", "mistral", "Mistral", extract_mistral, "7B and Nemo; sliding window"))
register(
    Architecture(
        "Qwen2ForCausalLM",
        "qwen2",
        "Qwen 2",
        extract_qwen2,
        "Qwen 2 and 2.5; biases of queries, keys and values, sliding windows",
    )
)
register(Architecture("Qwen3ForCausalLM", "qwen3", "Qwen 3", extract_qwen3, "dense sizes; normed queries and keys"))
register(
    Architecture(
        "Phi3ForCausalLM",
        "phi3",
        "Phi-3",
        extract_phi3,
        "Phi-3, 3.5 and 4 (mini, 14B); LongRoPE for prompts up to the length of pretraining",
    )
)
