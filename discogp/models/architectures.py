"""The one table of architectures: Hugging Face class name -> how to read its weights; everything else is refused.

A new family is one row of `ARCHITECTURES` and, if its layout is new, one function in `families/`. The command line,
the page and the README show this table. TransformerLens's bridge boots every class of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from discogp.errors import ModelError
from discogp.models.families.gemma import extract_gemma, extract_gemma2, extract_gemma3
from discogp.models.families.gpt2 import extract_gpt2, extract_gpt_neo
from discogp.models.families.gpt_neox import extract_gpt_neox
from discogp.models.families.llama import extract_llama, extract_mistral, extract_phi3, extract_qwen2, extract_qwen3
from discogp.models.families.opt import extract_opt
from discogp.models.families.reading import Parameters, setting_error
from discogp.models.weights import ModelWeights

Extractor = Callable[[Any, Parameters], ModelWeights]

MAX_LAYERS = 512
"""More than any dense decoder has; a larger number in a config is damage, and would fill the memory before
any other check."""


@dataclass(frozen=True)
class Architecture:
    """One row: the Hugging Face class, the `model_type` its config must state, what people call the family, its
    extractor, and in a few words what is reproduced and what is refused."""

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
            f"Model {model!r} has the architecture {name!r}: {_reason(name, raw_config)}. {supported_sentence()}"
        )
    if raw_config.get("model_type") != row.model_type:
        raise ModelError(
            f"Model {model!r}: its config.json states the architecture {name!r} but the model_type "
            f"{raw_config.get('model_type')!r}; {row.model_type!r} belongs to that class. Correct the file "
            "or pass another folder."
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


_EXPERTS = (
    "a mixture of experts sends each token through other weights, so its graph is not the same for every prompt and an "
    "edge has no single meaning"
)
_REASONS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("t5", "bart", "marian", "pegasus", "conditionalgeneration", "seq2seq", "vision"),
        "an encoder-decoder or multimodal model has cross-attention or inputs that are not text, which the computation "
        "graph here does not describe (of a multimodal model, pass its text model alone)",
    ),
    (
        ("moe", "mixtral", "deepseekv", "dbrx", "jamba", "gptoss", "phimoe", "llama4", "minimax", "arctic", "grok"),
        _EXPERTS,
    ),
    (
        (
            *("mamba", "rwkv", "recurrent", "retnet", "xlstm", "griffin", "falconh1", "zamba", "bamba", "lfm2"),
            *("qwen3next", "qwen3_5", "olmohybrid", "nemotronh", "granitemoehybrid", "hyena", "kimi"),
        ),
        "a recurrent layer has no attention heads: information moves through a state, which the computation graph here "
        "does not describe",
    ),
    (
        ("bert", "electra", "mlm", "maskedlm"),
        "an encoder sees the words after the gap as well; this tool traces next-token prediction",
    ),
    (
        ("forsequenceclassification", "fortokenclassification", "forquestionanswering"),
        "it has a classification head instead of next-token logits",
    ),
    (
        ("gemma3n", "gemma4"),
        "its layers read embeddings of their own beside the residual stream, which the computation graph here does not "
        "describe",
    ),
)


def _reason(name: str, raw_config: Mapping[str, Any]) -> str:
    lowered = name.lower()
    experts = any(raw_config.get(key) for key in ("num_local_experts", "num_experts", "n_routed_experts"))
    if experts:
        return _EXPERTS
    for words, reason in _REASONS:
        if any(word in lowered for word in words):
            return reason
    return "nobody has added a row for it to the table of architectures (discogp/models/architectures.py) yet"


def _count(hf_config: Any, key: str, maximum: int | None = None) -> int:
    value = getattr(hf_config, key, None)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1 or (maximum is not None and value > maximum):
        allowed = f"a whole number from 1 to {maximum}" if maximum else "a positive whole number"
        raise ModelError(
            f"config.json: {key} is {value!r}, must be {allowed}. The file is damaged; download the model again."
        )
    return value


def check_shape(row: Architecture, hf_config: Any) -> None:
    """Refuse impossible sizes before a model of that size is built."""
    for key in ("hidden_size", "num_attention_heads", "vocab_size", "max_position_embeddings"):
        _count(hf_config, key)
    _count(hf_config, "num_hidden_layers", MAX_LAYERS)
    width, heads = hf_config.hidden_size, hf_config.num_attention_heads
    if getattr(hf_config, "head_dim", None) is None and width % heads:
        raise setting_error(row.name, "hidden_size", width, f"a multiple of the number of heads ({heads})")
    shared = getattr(hf_config, "num_key_value_heads", None)
    if shared is not None and (shared < 1 or heads % shared):
        raise setting_error(row.name, "num_key_value_heads", shared, f"a divisor of the number of heads ({heads})")


ARCHITECTURES: Mapping[str, Architecture] = {
    row.name: row
    for row in (
        Architecture(
            "GPT2LMHeadModel",
            "gpt2",
            "GPT-2",
            extract_gpt2,
            "all sizes, DistilGPT-2, models trained in its shape",
        ),
        Architecture(
            "GPTNeoForCausalLM",
            "gpt_neo",
            "GPT-Neo",
            extract_gpt_neo,
            "TinyStories as well; local attention, scores not scaled",
        ),
        Architecture(
            "GPTNeoXForCausalLM",
            "gpt_neox",
            "GPT-NeoX",
            extract_gpt_neox,
            "Pythia; attention and MLP in parallel or in turn, partial rotary positions",
        ),
        Architecture(
            "OPTForCausalLM",
            "opt",
            "OPT",
            extract_opt,
            "all sizes but 350M, which norms after its blocks",
        ),
        Architecture(
            "LlamaForCausalLM",
            "llama",
            "Llama",
            extract_llama,
            "Llama 1 to 3, SmolLM and SmolLM2, TinyLlama, models in that shape; grouped keys and values",
        ),
        Architecture(
            "MistralForCausalLM",
            "mistral",
            "Mistral",
            extract_mistral,
            "7B and Nemo; sliding window",
        ),
        Architecture(
            "Qwen2ForCausalLM",
            "qwen2",
            "Qwen 2",
            extract_qwen2,
            "Qwen 2 and 2.5; biases of queries, keys and values, sliding windows",
        ),
        Architecture(
            "Qwen3ForCausalLM",
            "qwen3",
            "Qwen 3",
            extract_qwen3,
            "dense sizes; normed queries and keys",
        ),
        Architecture(
            "GemmaForCausalLM",
            "gemma",
            "Gemma",
            extract_gemma,
            "first generation; scaled embeddings, offset norms",
        ),
        Architecture(
            "Gemma2ForCausalLM",
            "gemma2",
            "Gemma 2",
            extract_gemma2,
            "norms after attention and MLP, capped scores and logits, sliding windows",
        ),
        Architecture(
            "Gemma3ForCausalLM",
            "gemma3_text",
            "Gemma 3",
            extract_gemma3,
            "text models (270M, 1B); as Gemma 2, with normed queries and keys, two rotary bases",
        ),
        Architecture(
            "Phi3ForCausalLM",
            "phi3",
            "Phi-3",
            extract_phi3,
            "Phi-3, 3.5 and 4 (mini, 14B); LongRoPE for prompts up to the length of pretraining",
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
    named = {name: t for name, t in weights.named_tensors() if not (name == "unembed" and weights.tied)}
    named |= {f"layer {i} {name}": t for i, layer in enumerate(weights.layers) for name, t in layer.named_tensors()}
    bad = [name for name, tensor in named.items() if not bool(torch.isfinite(tensor.sum()))]
    if bad:
        raise ModelError(
            f"The checkpoint holds values that are not finite numbers, in: {', '.join(bad[:4])}"
            f"{' …' if len(bad) > 4 else ''}. The file is damaged; download the model again."
        )
    return weights
