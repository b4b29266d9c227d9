"""How the parameters of each family become `ModelWeights`: one function a layout.

An extractor receives the Hugging Face configuration and the parameters under their Hugging Face names, and refuses
by name every setting that it does not reproduce: a circuit of a forward pass that differs from the model's would be a
circuit of another model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from discogp.errors import ModelError
from discogp.models.weights import Activation, LayerWeights, ModelConfig, ModelWeights

Parameters = Mapping[str, Tensor]


def setting_error(architecture: str, key: str, value: object, allowed: str) -> ModelError:
    return ModelError(
        f"{architecture} with {key}={value!r} is not reproduced exactly here, so it is refused; allowed: "
        f"{allowed}. Pass a checkpoint with that setting."
    )


_ACTIVATIONS: Mapping[str, Activation] = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu": "gelu",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
}


def _activation(architecture: str, key: str, value: object) -> Activation:
    if isinstance(value, str) and value in _ACTIVATIONS:
        return _ACTIVATIONS[value]
    raise setting_error(architecture, key, value, ", ".join(_ACTIVATIONS))


class _Reader:
    """Takes parameters by name, checks their shapes and hands out detached fp32 tensors."""

    def __init__(self, parameters: Parameters, prefix: str = "") -> None:
        self._parameters = parameters
        self._prefix = prefix

    def under(self, prefix: str) -> _Reader:
        return _Reader(self._parameters, self._prefix + prefix)

    def has(self, name: str) -> bool:
        return self._prefix + name in self._parameters

    def __call__(self, name: str, *shape: int) -> Tensor:
        full = self._prefix + name
        if full not in self._parameters:
            raise ModelError(f"The checkpoint has no parameter {full!r}. It is incomplete; download the model again.")
        tensor = self._parameters[full].detach().float()
        if tuple(tensor.shape) != shape:
            raise ModelError(
                f"Parameter {full!r} has the shape {tuple(tensor.shape)}; config.json asks for {shape}. The "
                "two files do not belong together; download the model again."
            )
        return tensor.contiguous()


def _unembed(read: _Reader, embed: Tensor, tied: bool) -> Tensor:
    """[V, D] -> [D, V]: a view of the embedding where the two are tied, otherwise a matrix of its own."""
    if tied:
        return embed.T
    return read("lm_head.weight", *embed.shape).T.contiguous()


def extract_gpt2(hf: Any, parameters: Parameters) -> ModelWeights:
    """GPT-2. Its Conv1D stores matrices as [in, out], and queries, keys and values of all heads side by side
    in one."""
    name = "GPT2LMHeadModel"
    if not hf.scale_attn_weights:
        raise setting_error(name, "scale_attn_weights", hf.scale_attn_weights, "True")
    if hf.scale_attn_by_inverse_layer_idx:
        raise setting_error(name, "scale_attn_by_inverse_layer_idx", hf.scale_attn_by_inverse_layer_idx, "False")
    if hf.add_cross_attention:
        raise setting_error(name, "add_cross_attention", hf.add_cross_attention, "False")
    d, heads, d_mlp = hf.hidden_size, hf.num_attention_heads, hf.n_inner or 4 * hf.hidden_size
    dh = d // heads
    config = ModelConfig(
        family="gpt2",
        n_layers=hf.num_hidden_layers,
        n_heads=heads,
        n_kv_heads=heads,
        d_model=d,
        d_head=dh,
        d_mlp=d_mlp,
        d_vocab=hf.vocab_size,
        max_positions=hf.max_position_embeddings,
        norm="layer",
        norm_eps=float(hf.layer_norm_epsilon),
        activation=_activation(name, "activation_function", hf.activation_function),
        gated=False,
        rotary_theta=None,
    )
    read = _Reader(parameters)

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

    embed = read("transformer.wte.weight", config.d_vocab, d)
    return ModelWeights(
        config=config,
        embed=embed,
        positions=read("transformer.wpe.weight", config.max_positions, d),
        layers=tuple(layer(index) for index in range(config.n_layers)),
        final_norm=read("transformer.ln_f.weight", d),
        final_norm_bias=read("transformer.ln_f.bias", d),
        unembed=_unembed(read, embed, bool(hf.tie_word_embeddings)),
    )


def _rotary(name: str, hf: Any, d_head: int) -> tuple[float, tuple[float, ...] | None]:
    """(theta, inverse frequencies where theta alone does not give them).

    The numbers come from `rope_parameters`: other places that state them (a bridge's rotary_base) can hold a
    default.
    """
    rope = dict(hf.rope_parameters or {})
    kind, theta = rope.get("rope_type", "default"), rope.get("rope_theta")
    if not isinstance(theta, (int, float)) or not theta > 0:
        raise setting_error(name, "rope_parameters.rope_theta", theta, "a positive number")
    if kind not in ("default", "linear", "llama3"):
        raise setting_error(
            name,
            "rope_parameters.rope_type",
            kind,
            "default, linear, llama3 (others change with the prompt's length)",
        )
    if rope.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise setting_error(name, "rope_parameters.partial_rotary_factor", rope["partial_rotary_factor"], "1.0")
    if d_head % 2:
        raise setting_error(name, "head_dim", d_head, "an even number")
    if kind == "default":
        return float(theta), None
    # NaN-free by construction; equal to transformers' own, which a test compares.
    frequencies = [float(theta) ** (-2 * i / d_head) for i in range(d_head // 2)]
    factor = float(rope["factor"])
    if kind == "linear":
        return float(theta), tuple(f / factor for f in frequencies)
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    trained = float(rope["original_max_position_embeddings"])
    return float(theta), tuple(_llama3(f, factor, low, high, trained) for f in frequencies)


def _llama3(frequency: float, factor: float, low: float, high: float, trained: float) -> float:
    """Llama 3.1: long waves are slowed by `factor`, short ones kept, those between blended."""
    wavelength = 2 * math.pi / frequency
    if wavelength < trained / high:
        return frequency
    if wavelength > trained / low:
        return frequency / factor
    blend = (trained / wavelength - low) / (high - low)
    return (1 - blend) * frequency / factor + blend * frequency


def extract_llama(hf: Any, parameters: Parameters) -> ModelWeights:
    """Llama and its kin (SmolLM2): torch Linear matrices are [out, in]; keys and values may have fewer heads
    than queries."""
    name = "LlamaForCausalLM"
    d, heads, shared, d_mlp = (
        hf.hidden_size,
        hf.num_attention_heads,
        hf.num_key_value_heads,
        hf.intermediate_size,
    )
    dh = getattr(hf, "head_dim", None) or d // heads
    theta, frequencies = _rotary(name, hf, dh)
    config = ModelConfig(
        family="llama",
        n_layers=hf.num_hidden_layers,
        n_heads=heads,
        n_kv_heads=shared,
        d_model=d,
        d_head=dh,
        d_mlp=d_mlp,
        d_vocab=hf.vocab_size,
        max_positions=hf.max_position_embeddings,
        norm="rms",
        norm_eps=float(hf.rms_norm_eps),
        activation=_activation(name, "hidden_act", hf.hidden_act),
        gated=True,
        rotary_theta=theta,
        rotary_inv_freq=frequencies,
    )
    read = _Reader(parameters)

    def layer(index: int) -> LayerWeights:
        block = read.under(f"model.layers.{index}.")

        def projection(which: str, count: int) -> Tensor:
            """[n·dh, D] -> [n, D, dh]"""
            return block(f"self_attn.{which}.weight", count * dh, d).view(count, dh, d).transpose(1, 2).contiguous()

        def bias(which: str, *shape: int) -> Tensor | None:
            return block(f"{which}.bias", math.prod(shape)).view(shape) if block.has(f"{which}.bias") else None

        def linear(which: str, outer: int, inner: int) -> Tensor:
            return block(f"mlp.{which}.weight", outer, inner).T.contiguous()

        return LayerWeights(
            norm1=block("input_layernorm.weight", d),
            norm1_bias=None,
            q=projection("q_proj", heads),
            k=projection("k_proj", shared),
            v=projection("v_proj", shared),
            o=block("self_attn.o_proj.weight", d, heads * dh).T.contiguous().view(heads, dh, d),
            q_bias=bias("self_attn.q_proj", heads, dh),
            k_bias=bias("self_attn.k_proj", shared, dh),
            v_bias=bias("self_attn.v_proj", shared, dh),
            o_bias=bias("self_attn.o_proj", d),
            norm2=block("post_attention_layernorm.weight", d),
            norm2_bias=None,
            mlp_in=linear("up_proj", d_mlp, d),
            mlp_in_bias=bias("mlp.up_proj", d_mlp),
            mlp_gate=linear("gate_proj", d_mlp, d),
            mlp_gate_bias=bias("mlp.gate_proj", d_mlp),
            mlp_out=linear("down_proj", d, d_mlp),
            mlp_out_bias=bias("mlp.down_proj", d),
        )

    embed = read("model.embed_tokens.weight", config.d_vocab, d)
    return ModelWeights(
        config=config,
        embed=embed,
        positions=None,
        layers=tuple(layer(index) for index in range(config.n_layers)),
        final_norm=read("model.norm.weight", d),
        final_norm_bias=None,
        unembed=_unembed(read, embed, bool(hf.tie_word_embeddings)),
    )
