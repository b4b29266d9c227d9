"""From a config to the row of its architecture, or the reason why there is none; and its extractor, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from discogp.errors import ModelError, brief
from discogp.models.families.reading import Parameters
from discogp.models.families.table import ARCHITECTURES, Architecture
from discogp.models.weights import ModelWeights


def architecture_of(raw_config: Mapping[str, Any], model: str) -> Architecture:
    """The row for the content of a config.json; ModelError, with the reason, for everything that has none.

    Works on the plain file, so that a class that transformers does not know is refused by its name too.
    """
    value = raw_config.get("architectures")
    stated = value if isinstance(value, list) else []
    if len(stated) != 1:
        raise ModelError(
            f"model {model!r}: its config.json states {len(stated)} architectures "
            f"({', '.join(map(brief, stated[:5])) or 'none'}); exactly one is needed. {supported_sentence()}"
        )
    name = str(stated[0])
    row = ARCHITECTURES.get(name)
    if row is None:
        raise ModelError(
            f"model {model!r} has the architecture {brief(name)}: {_reason(name, raw_config)}. {supported_sentence()}"
        )
    if raw_config.get("model_type") != row.model_type:
        raise ModelError(
            f"model {model!r}: its config.json states the architecture {name!r} but the model_type "
            f"{brief(raw_config.get('model_type'))}; {row.model_type!r} belongs to that class. Correct the file "
            "or pass another folder"
        )
    if raw_config.get("quantization_config") is not None:
        raise ModelError(
            f"model {model!r} is stored quantised (quantization_config in its config.json); masks need "
            "plain weights. Pass the checkpoint it was quantised from, or one de-quantised to half or "
            "single precision"
        )
    return row


def supported_sentence() -> str:
    return f"Supported architectures: {ARCHITECTURES.known()}. Pick such a model, or 'mini', which is always there"


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
    return "nobody has added a row for it to the table of architectures (a file in discogp/models/families) yet"


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
            f"the checkpoint holds values that are not finite numbers, in: {', '.join(bad[:4])}"
            f"{' …' if len(bad) > 4 else ''}. The file is damaged; download the model again"
        )
    return weights
