"""Gemma 1, 2 and 3 (text): Llama's shape with scaled embeddings and norms whose gains are stored less one.

Gemma 2 and 3 also norm what attention and MLP write, and let most layers see a window only; Gemma 2 caps attention
scores and logits; Gemma 3 norms queries and keys, and rotates more slowly where a layer sees everything.
"""

from __future__ import annotations

from typing import Any

from discogp.models.families.llama import Choices, head_size, layer_windows, llama_shaped
from discogp.models.families.reading import Parameters, positive, require, setting_error
from discogp.models.families.rope import rotary
from discogp.models.families.table import Architecture, register
from discogp.models.weights import AttentionConfig, ModelWeights

_NORMS = ("input_layernorm", "pre_feedforward_layernorm")
_POST_NORMS = ("post_attention_layernorm", "post_feedforward_layernorm")


def extract_gemma(hf: Any, parameters: Parameters) -> ModelWeights:
    name = "GemmaForCausalLM"
    require(name, hf, use_bidirectional_attention=False)
    every = AttentionConfig(rotary=rotary(name, hf, head_size(hf)))
    choices = Choices((every,) * hf.num_hidden_layers, norm_offset=1.0, embed_scale=hf.hidden_size**0.5)
    return llama_shaped(name, hf, parameters, choices)


def extract_gemma2(hf: Any, parameters: Parameters) -> ModelWeights:
    name = "Gemma2ForCausalLM"
    # A bias of the output projection would go through the norm behind it, so no head could be given its share.
    require(name, hf, use_bidirectional_attention=False, attention_bias=False)
    turn = rotary(name, hf, head_size(hf))
    cap, scale = positive(name, hf, "attn_logit_softcapping"), _scale(name, hf)
    attention = tuple(AttentionConfig(scale, seen, cap, turn) for seen in layer_windows(name, hf))
    return llama_shaped(name, hf, parameters, _choices(name, hf, attention, query_key_norms=False))


def extract_gemma3(hf: Any, parameters: Parameters) -> ModelWeights:
    """The text model; attention scores are not capped, whatever the configuration says, so a cap is refused."""
    name = "Gemma3ForCausalLM"
    require(name, hf, use_bidirectional_attention=False, attention_bias=False, attn_logit_softcapping=None)
    turns = {
        kind: rotary(name, hf, head_size(hf), layer_type=kind)
        for kind in set(hf.layer_types) & {"full_attention", "sliding_attention"}
    }
    windows = layer_windows(name, hf)
    attention = tuple(
        AttentionConfig(_scale(name, hf), seen, rotary=turns[kind])
        for seen, kind in zip(windows, hf.layer_types, strict=True)
    )
    return llama_shaped(name, hf, parameters, _choices(name, hf, attention, query_key_norms=True))


def _scale(name: str, hf: Any) -> float:
    scalar = positive(name, hf, "query_pre_attn_scalar")
    if scalar is None:
        raise setting_error(name, "query_pre_attn_scalar", None, "a positive number")
    return scalar**-0.5


def _choices(name: str, hf: Any, attention: tuple[AttentionConfig, ...], query_key_norms: bool) -> Choices:
    return Choices(
        attention,
        activation_key="hidden_activation",
        norms=_NORMS,
        post_norms=_POST_NORMS,
        norm_offset=1.0,
        query_key_norms=query_key_norms,
        embed_scale=hf.hidden_size**0.5,
        logit_cap=positive(name, hf, "final_logit_softcapping"),
    )


register(
    Architecture(
        "GemmaForCausalLM", "gemma", "Gemma", extract_gemma, "first generation; scaled embeddings, offset norms"
    )
)
register(
    Architecture(
        "Gemma2ForCausalLM",
        "gemma2",
        "Gemma 2",
        extract_gemma2,
        "norms after attention and MLP, capped scores and logits, sliding windows",
    )
)
register(
    Architecture(
        "Gemma3ForCausalLM",
        "gemma3_text",
        "Gemma 3",
        extract_gemma3,
        "text models (270M, 1B); as Gemma 2, with normed queries and keys, two rotary bases",
    )
)
