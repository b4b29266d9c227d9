"""GPT-2 and GPT-Neo: learned positions, one block after the other, LayerNorm before attention and MLP."""

from __future__ import annotations

from typing import Any

from discogp.models.families.reading import Parameters, Reader, activation, require, setting_error, unembedding, window
from discogp.models.families.table import Architecture, register
from discogp.models.weights import AttentionConfig, LayerWeights, ModelConfig, ModelWeights


def extract_gpt2(hf: Any, parameters: Parameters) -> ModelWeights:
    """Its Conv1D stores matrices as [in, out], and queries, keys and values of all heads side by side in one."""
    name = "GPT2LMHeadModel"
    require(name, hf, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    config = _config(name, hf, "gpt2", hf.n_inner)
    d, heads, dh, d_mlp = config.d_model, config.n_heads, config.d_head, config.d_mlp
    read = Reader(parameters)

    def layer(index: int) -> LayerWeights:
        block = read.under(f"transformer.h.{index}.")
        # [D, 3D] -> [D, 3, H, dh] -> three times [H, D, dh]
        q, k, v = block("attn.c_attn.weight", d, 3 * d).view(d, 3, heads, dh).permute(1, 2, 0, 3).unbind(0)
        q_bias, k_bias, v_bias = block("attn.c_attn.bias", 3 * d).view(3, heads, dh).unbind(0)
        return LayerWeights(
            norm1=block("ln_1.weight", d),
            norm1_bias=block("ln_1.bias", d),
            q=q.contiguous(),
            k=k.contiguous(),
            v=v.contiguous(),
            o=block("attn.c_proj.weight", d, d).view(heads, dh, d),
            q_bias=q_bias.contiguous(),
            k_bias=k_bias.contiguous(),
            v_bias=v_bias.contiguous(),
            o_bias=block("attn.c_proj.bias", d),
            norm2=block("ln_2.weight", d),
            norm2_bias=block("ln_2.bias", d),
            mlp_in=block("mlp.c_fc.weight", d, d_mlp),
            mlp_in_bias=block("mlp.c_fc.bias", d_mlp),
            mlp_gate=None,
            mlp_gate_bias=None,
            mlp_out=block("mlp.c_proj.weight", d_mlp, d),
            mlp_out_bias=block("mlp.c_proj.bias", d),
        )

    return _model(hf, config, read, tuple(layer(index) for index in range(config.n_layers)))


def extract_gpt_neo(hf: Any, parameters: Parameters) -> ModelWeights:
    """Scores are not divided by √dh; some layers see a window only; queries, keys and values have no biases."""
    name = "GPTNeoForCausalLM"
    local = window(name, hf, "window_size")
    config = _config(name, hf, "gpt_neo", hf.intermediate_size)
    d, heads, dh, d_mlp = config.d_model, config.n_heads, config.d_head, config.d_mlp
    read = Reader(parameters)

    def layer(index: int) -> LayerWeights:
        kind = hf.attention_layers[index]
        if kind not in ("global", "local"):
            raise setting_error(name, f"attention_layers[{index}]", kind, "global, local")
        block = read.under(f"transformer.h.{index}.")
        return LayerWeights(
            norm1=block("ln_1.weight", d),
            norm1_bias=block("ln_1.bias", d),
            q=block.into_heads("attn.attention.q_proj", heads, dh, d),
            k=block.into_heads("attn.attention.k_proj", heads, dh, d),
            v=block.into_heads("attn.attention.v_proj", heads, dh, d),
            o=block.out_of_heads("attn.attention.out_proj", heads, dh, d),
            q_bias=None,
            k_bias=None,
            v_bias=None,
            o_bias=block("attn.attention.out_proj.bias", d),
            norm2=block("ln_2.weight", d),
            norm2_bias=block("ln_2.bias", d),
            mlp_in=block.linear("mlp.c_fc", d_mlp, d),
            mlp_in_bias=block("mlp.c_fc.bias", d_mlp),
            mlp_gate=None,
            mlp_gate_bias=None,
            mlp_out=block.linear("mlp.c_proj", d, d_mlp),
            mlp_out_bias=block("mlp.c_proj.bias", d),
            attention=AttentionConfig(scale=1.0, window=local if kind == "local" else None),
        )

    return _model(hf, config, read, tuple(layer(index) for index in range(config.n_layers)))


def _config(name: str, hf: Any, family: str, d_mlp: int | None) -> ModelConfig:
    d, heads = hf.hidden_size, hf.num_attention_heads
    return ModelConfig(
        family=family,
        n_layers=hf.num_hidden_layers,
        n_heads=heads,
        n_kv_heads=heads,
        d_model=d,
        d_head=d // heads,
        d_mlp=d_mlp or 4 * d,
        d_vocab=hf.vocab_size,
        max_positions=hf.max_position_embeddings,
        norm="layer",
        norm_eps=float(hf.layer_norm_epsilon),
        activation=activation(name, hf, "activation_function"),
        gated=False,
    )


def _model(hf: Any, config: ModelConfig, read: Reader, layers: tuple[LayerWeights, ...]) -> ModelWeights:
    d = config.d_model
    embed = read("transformer.wte.weight", config.d_vocab, d)
    return ModelWeights(
        config=config,
        embed=embed,
        positions=read("transformer.wpe.weight", config.max_positions, d),
        layers=layers,
        final_norm=read("transformer.ln_f.weight", d),
        final_norm_bias=read("transformer.ln_f.bias", d),
        unembed=unembedding(read, "lm_head", embed, hf),
    )


register(
    Architecture(
        "GPT2LMHeadModel", "gpt2", "GPT-2", extract_gpt2, "all sizes, DistilGPT-2, models trained in its shape"
    )
)
register(
    Architecture(
        "GPTNeoForCausalLM",
        "gpt_neo",
        "GPT-Neo",
        extract_gpt_neo,
        "TinyStories as well; local attention, scores not scaled",
    )
)
