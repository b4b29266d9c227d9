"""GPT-NeoX and Pythia: attention and MLP read the same residual stream (or one after the other), rotary positions."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from discogp.models.families.reading import Parameters, Reader, activation, unembedding
from discogp.models.families.rope import longest_prompt, rotary
from discogp.models.families.table import Architecture, register
from discogp.models.weights import AttentionConfig, LayerWeights, ModelConfig, ModelWeights


def extract_gpt_neox(hf: Any, parameters: Parameters) -> ModelWeights:
    """Queries, keys and values lie in one matrix, head by head: [H, 3, dh, D]. A part of each head is rotated."""
    name = "GPTNeoXForCausalLM"
    d, heads = hf.hidden_size, hf.num_attention_heads
    dh = d // heads
    attention = AttentionConfig(rotary=rotary(name, hf, dh, partial=True))
    config = ModelConfig(
        family="gpt_neox",
        n_layers=hf.num_hidden_layers,
        n_heads=heads,
        n_kv_heads=heads,
        d_model=d,
        d_head=dh,
        d_mlp=hf.intermediate_size,
        d_vocab=hf.vocab_size,
        max_positions=longest_prompt(hf),
        norm="layer",
        norm_eps=float(hf.layer_norm_eps),
        activation=activation(name, hf, "hidden_act"),
        gated=False,
        parallel=bool(hf.use_parallel_residual),
    )
    read = Reader(parameters)

    embed = read("gpt_neox.embed_in.weight", config.d_vocab, d)
    return ModelWeights(
        config=config,
        embed=embed,
        positions=None,
        layers=tuple(_layer(read.under(f"gpt_neox.layers.{i}."), config, attention) for i in range(config.n_layers)),
        final_norm=read("gpt_neox.final_layer_norm.weight", d),
        final_norm_bias=read("gpt_neox.final_layer_norm.bias", d),
        unembed=unembedding(read, "lm_head", embed, hf),
    )


def _layer(block: Reader, config: ModelConfig, attention: AttentionConfig) -> LayerWeights:
    d, heads, dh, d_mlp = config.d_model, config.n_heads, config.d_head, config.d_mlp
    fused = block("attention.query_key_value.weight", 3 * d, d).view(heads, 3, dh, d)
    q, k, v = fused.permute(1, 0, 3, 2).contiguous().unbind(0)
    bias = block.optional("attention.query_key_value.bias", 3 * d)
    biases: tuple[Tensor | None, ...] = (None, None, None)
    if bias is not None:
        biases = bias.view(heads, 3, dh).transpose(0, 1).contiguous().unbind(0)
    return LayerWeights(
        norm1=block("input_layernorm.weight", d),
        norm1_bias=block("input_layernorm.bias", d),
        q=q,
        k=k,
        v=v,
        o=block.out_of_heads("attention.dense", heads, dh, d),
        q_bias=biases[0],
        k_bias=biases[1],
        v_bias=biases[2],
        o_bias=block.optional("attention.dense.bias", d),
        norm2=block("post_attention_layernorm.weight", d),
        norm2_bias=block("post_attention_layernorm.bias", d),
        mlp_in=block.linear("mlp.dense_h_to_4h", d_mlp, d),
        mlp_in_bias=block("mlp.dense_h_to_4h.bias", d_mlp),
        mlp_gate=None,
        mlp_gate_bias=None,
        mlp_out=block.linear("mlp.dense_4h_to_h", d, d_mlp),
        mlp_out_bias=block("mlp.dense_4h_to_h.bias", d),
        attention=attention,
    )


register(
    Architecture(
        "GPTNeoXForCausalLM",
        "gpt_neox",
        "GPT-NeoX",
        extract_gpt_neox,
        "Pythia; attention and MLP in parallel or in turn, partial rotary positions",
    )
)
