"""What decides on a search's result, as flat plain data: a checkpoint is gone on with only where all of it agrees."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from discogp.engine.masked_transformer import MaskedTransformer
from discogp.prompts.prepare import TaskData

_FREE = ("checkpoint_every",)  # settings that change nothing about the result


def identity(model: MaskedTransformer, data: TaskData, method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Names of settings, and sums over weights and prompts."""
    decisive = {key: value for key, value in settings.items() if key not in _FREE}
    # Checkpoints from before there was a choice name no method.
    return ({} if method == "discogp" else {"method": method}) | {
        **{f"setting {key}": value for key, value in _flat(decisive).items()},
        "model": model.name,
        "the model's weights": model.weights.fingerprint,
        "kind of device": model.device.type,
        "task": data.task_name,
        **{f"task option {key}": value for key, value in _flat(data.task_options).items()},
        **{f"{name} prompts": _checksum(getattr(data, name)) for name in ("train", "validation")},
    }


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, (int, float, str, type(None))) else str(value)
    return flat


def _checksum(prompts: Any) -> int:
    total = 0
    named = [getattr(prompts, name) for name in ("tokens", "lengths", "correct", "wrong", "counterfactual")]
    for tensor in (*named, prompts.steps and prompts.steps.ids):
        if tensor is not None:
            total = zlib.crc32(tensor.cpu().numpy().tobytes(), total)
    return total
