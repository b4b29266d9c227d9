"""OPT: GPT-2's layout with torch's Linear layers, ReLU, and a table of positions that starts with two unused rows."""

from __future__ import annotations

from typing import Any

from discogp.models.families.reading import Parameters, Reader, activation, require, unembedding
from discogp.models.families.table import Architecture, register
from discogp.models.weights import LayerWeights, ModelConfig, ModelWeights

_UNUSED_POSITIONS = 2


def extract_opt(hf: Any, parameters: Parameters) -> ModelWeights:
    """OPT-350m is refused: it norms after each block and embeds words in another width."""
    name = "OPTForCausalLM"
    require(
        name,
        hf,
        do_layer_norm_before=True,
        word_embed_proj_dim=hf.hidden_size,
        layer_norm_elementwise_affine=True,
        _remove_final_layer_norm=False,
    )
    d, heads = hf.hidden_size, hf.num_attention_heads
    dh = d // heads
    config = ModelConfig(
        family="opt",
        n_layers=hf.num_hidden_layers,
        n_heads=heads,
        n_kv_heads=heads,
        d_model=d,
        d_head=dh,
        d_mlp=hf.ffn_dim,
        d_vocab=hf.vocab_size,
        max_positions=hf.max_position_embeddings,
        norm="layer",
        norm_eps=1e-5,  # torch's default, which the class does not change
        activation=activation(name, hf, "activation_function"),
        gated=False,
    )
    read = Reader(parameters).under("model.decoder.")

    embed = read("embed_tokens.weight", config.d_vocab, d)
    positions = read("embed_positions.weight", config.max_positions + _UNUSED_POSITIONS, d)
    return ModelWeights(
        config=config,
        embed=embed,
        positions=positions[_UNUSED_POSITIONS:].contiguous(),
        layers=tuple(_layer(read.under(f"layers.{i}."), config) for i in range(config.n_layers)),
        final_norm=read("final_layer_norm.weight", d),
        final_norm_bias=read("final_layer_norm.bias", d),
        unembed=unembedding(Reader(parameters), "lm_head", embed, hf),
    )


def _layer(block: Reader, config: ModelConfig) -> LayerWeights:
    d, heads, dh, d_mlp = config.d_model, config.n_heads, config.d_head, config.d_mlp
    return LayerWeights(
        norm1=block("self_attn_layer_norm.weight", d),
        norm1_bias=block("self_attn_layer_norm.bias", d),
        q=block.into_heads("self_attn.q_proj", heads, dh, d),
        k=block.into_heads("self_attn.k_proj", heads, dh, d),
        v=block.into_heads("self_attn.v_proj", heads, dh, d),
        o=block.out_of_heads("self_attn.out_proj", heads, dh, d),
        q_bias=block.head_biases("self_attn.q_proj", heads, dh),
        k_bias=block.head_biases("self_attn.k_proj", heads, dh),
        v_bias=block.head_biases("self_attn.v_proj", heads, dh),
        o_bias=block.optional("self_attn.out_proj.bias", d),
        norm2=block("final_layer_norm.weight", d),
        norm2_bias=block("final_layer_norm.bias", d),
        mlp_in=block.linear("fc1", d_mlp, d),
        mlp_in_bias=block.optional("fc1.bias", d_mlp),
        mlp_gate=None,
        mlp_gate_bias=None,
        mlp_out=block.linear("fc2", d, d_mlp),
        mlp_out_bias=block.optional("fc2.bias", d),
    )


register(Architecture("OPTForCausalLM", "opt", "OPT", extract_opt, "all sizes but 350M, which norms after its blocks"))
