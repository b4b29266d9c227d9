"""The one table of architectures: Hugging Face class name -> how to read its weights into `ModelWeights`.

A new family is one row of `ARCHITECTURES` and, if its layout is new, one extractor. An extractor receives the
configuration and the parameters under their Hugging Face names, and refuses by name every setting that it
does not reproduce: a circuit of a forward pass that differs from the model's would be a circuit of another
model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from discogp.errors import ModelError
from discogp.models.weights import Activation, LayerWeights, ModelConfig, ModelWeights

Parameters = Mapping[str, Tensor]
Extractor = Callable[[Any, Parameters], ModelWeights]

MAX_LAYERS = 512
"""More than any dense decoder has; a larger number in a config is damage, and would fill the memory before
any other check."""


@dataclass(frozen=True)
class Architecture:
    """One row: the class, the `model_type` its config must state, its family, its extractor, and a note for
    people."""

    name: str
    model_type: str
    family: str
    extract: Extractor
    note: str


def architecture_of(raw_config: Mapping[str, Any], model: str) -> Architecture:
    """The row for the content of a config.json; ModelError, with the reason, for everything that has none.

    Works on the plain file, so that a class that transformers does not know is refused by its name too.
    """
    value = raw_config.get("architectures")
    stated = value if isinstance(value, list) else []
    if len(stated) != 1:
        raise ModelError(
            f"Model {model!r}: its config.json states {len(stated)} architectures "
            f"({', '.join(map(str, stated)) or 'none'}); exactly one is needed. {supported_sentence()}"
        )
    name = str(stated[0])
    row = ARCHITECTURES.get(name)
    if row is None:
        raise ModelError(
            f"Model {model!r} has the architecture {name!r}: {_reason(name, raw_config)}. "
            f"{supported_sentence()}"
        )
    if raw_config.get("model_type") != row.model_type:
        raise ModelError(
            f"Model {model!r}: its config.json states the architecture {name!r} but the model_type "
            f"{raw_config.get('model_type')!r}; {row.model_type!r} belongs to that class. Correct the file or "
            "pass another folder."
        )
    if raw_config.get("quantization_config") is not None:
        raise ModelError(
            f"Model {model!r} is stored quantised (quantization_config in its config.json); masks need "
            "plain weights. Pass the checkpoint it was quantised from, or one de-quantised to half or "
            "single precision."
        )
    return row


def supported_sentence() -> str:
    names = ", ".join(ARCHITECTURES)
    return f"Supported architectures: {names}. Pick such a model, or 'mini', which is always there."


_REASONS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("moe", "mixtral", "deepseekv", "dbrx", "jamba", "gptoss", "olmoe", "phimoe"),
        "a mixture of experts sends each token through other weights, so its graph is not the same for "
        "every prompt and an edge has no single meaning",
    ),
    (
        ("mamba", "rwkv", "recurrent", "retnet", "xlstm", "griffin", "falconh1", "zamba"),
        "a recurrent model has no attention heads: information moves through a state, which the "
        "computation graph here does not describe",
    ),
    (
        ("bert", "electra", "mlm", "maskedlm"),
        "an encoder sees the words after the gap as well; this tool traces next-token prediction",
    ),
    (
        ("t5", "bart", "marian", "pegasus", "conditionalgeneration", "seq2seq"),
        "an encoder-decoder or multimodal model has cross-attention, which the computation graph here does "
        "not describe",
    ),
    (
        ("forsequenceclassification", "fortokenclassification", "forquestionanswering"),
        "it has a classification head instead of next-token logits",
    ),
    (
        ("gemma2", "gemma3", "olmo2"),
        "it normalises the output of attention and MLP, so the contributions of the heads do not add up to "
        "what the next layer reads",
    ),
)


def _reason(name: str, raw_config: Mapping[str, Any]) -> str:
    lowered = name.lower()
    experts = any(raw_config.get(key) for key in ("num_local_experts", "num_experts", "n_routed_experts"))
    if experts:
        return _REASONS[0][1]
    for words, reason in _REASONS:
        if any(word in lowered for word in words):
            return reason
    return "nobody has added a row for it to the table of architectures (discogp/models/architectures.py) yet"


# --- reading and refusing -----------------------------------------------------------------------------------


def _count(hf_config: Any, key: str, maximum: int | None = None) -> int:
    value = getattr(hf_config, key, None)
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or value < 1
        or (maximum is not None and value > maximum)
    ):
        allowed = f"a whole number from 1 to {maximum}" if maximum else "a positive whole number"
        raise ModelError(
            f"config.json: {key} is {value!r}, must be {allowed}. The file is damaged; download the model "
            "again."
        )
    return value


def check_shape(row: Architecture, hf_config: Any) -> None:
    """Refuse impossible sizes before a model of that size is built."""
    for key in ("hidden_size", "num_attention_heads", "vocab_size", "max_position_embeddings"):
        _count(hf_config, key)
    _count(hf_config, "num_hidden_layers", MAX_LAYERS)
    width, heads = hf_config.hidden_size, hf_config.num_attention_heads
    if getattr(hf_config, "head_dim", None) is None and width % heads:
        raise _setting(row.name, "hidden_size", width, f"a multiple of the number of heads ({heads})")
    shared = getattr(hf_config, "num_key_value_heads", None)
    if shared is not None and (shared < 1 or heads % shared):
        raise _setting(row.name, "num_key_value_heads", shared, f"a divisor of the number of heads ({heads})")


def _setting(architecture: str, key: str, value: object, allowed: str) -> ModelError:
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
    raise _setting(architecture, key, value, ", ".join(_ACTIVATIONS))


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
            raise ModelError(
                f"The checkpoint has no parameter {full!r}. It is incomplete; download the model again."
            )
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


# --- GPT-2 --------------------------------------------------------------------------------------------------


def _gpt2(hf: Any, parameters: Parameters) -> ModelWeights:
    """GPT-2. Its Conv1D stores matrices as [in, out], and queries, keys and values of all heads side by side
    in one."""
    name = "GPT2LMHeadModel"
    if not hf.scale_attn_weights:
        raise _setting(name, "scale_attn_weights", hf.scale_attn_weights, "True")
    if hf.scale_attn_by_inverse_layer_idx:
        raise _setting(name, "scale_attn_by_inverse_layer_idx", hf.scale_attn_by_inverse_layer_idx, "False")
    if hf.add_cross_attention:
        raise _setting(name, "add_cross_attention", hf.add_cross_attention, "False")
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


# --- Llama --------------------------------------------------------------------------------------------------


def _rotary(name: str, hf: Any, d_head: int) -> tuple[float, tuple[float, ...] | None]:
    """(theta, inverse frequencies where theta alone does not give them).

    The numbers come from `rope_parameters`: other places that state them (a bridge's rotary_base) can hold a
    default.
    """
    rope = dict(hf.rope_parameters or {})
    kind, theta = rope.get("rope_type", "default"), rope.get("rope_theta")
    if not isinstance(theta, (int, float)) or not theta > 0:
        raise _setting(name, "rope_parameters.rope_theta", theta, "a positive number")
    if kind not in ("default", "linear", "llama3"):
        raise _setting(
            name,
            "rope_parameters.rope_type",
            kind,
            "default, linear, llama3 (others change with the prompt's length)",
        )
    if rope.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise _setting(name, "rope_parameters.partial_rotary_factor", rope["partial_rotary_factor"], "1.0")
    if d_head % 2:
        raise _setting(name, "head_dim", d_head, "an even number")
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


def _llama(hf: Any, parameters: Parameters) -> ModelWeights:
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
            return (
                block(f"self_attn.{which}.weight", count * dh, d)
                .view(count, dh, d)
                .transpose(1, 2)
                .contiguous()
            )

        def bias(which: str, *shape: int) -> Tensor | None:
            return (
                block(f"{which}.bias", math.prod(shape)).view(shape) if block.has(f"{which}.bias") else None
            )

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


# --- the table ----------------------------------------------------------------------------------------------

ARCHITECTURES: Mapping[str, Architecture] = {
    row.name: row
    for row in (
        Architecture(
            "GPT2LMHeadModel",
            "gpt2",
            "gpt2",
            _gpt2,
            "GPT-2 in all sizes, DistilGPT-2, models trained in its shape",
        ),
        Architecture(
            "LlamaForCausalLM",
            "llama",
            "llama",
            _llama,
            "Llama 1 to 3, SmolLM and SmolLM2, TinyLlama, models in that shape",
        ),
    )
}


def extract(row: Architecture, hf_config: Any, parameters: Parameters) -> ModelWeights:
    """Weights in this package's layout; ModelError where a setting or a shape is not what the row reproduces.

    Refuses infinities and NaNs: they come from damaged files or from overflow on conversion, and make every
    later number NaN.
    """
    with torch.no_grad():
        weights = row.extract(hf_config, parameters)
    named = dict(weights.named_tensors())
    named |= {
        f"layer {i} {name}": t for i, layer in enumerate(weights.layers) for name, t in layer.named_tensors()
    }
    bad = [name for name, tensor in named.items() if not bool(torch.isfinite(tensor.sum()))]
    if bad:
        raise ModelError(
            f"The checkpoint holds values that are not finite numbers, in: {', '.join(bad[:4])}"
            f"{' …' if len(bad) > 4 else ''}. The file is damaged; download the model again."
        )
    return weights
