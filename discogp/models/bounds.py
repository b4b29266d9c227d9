"""How large a model a folder may claim to be: as large as its weight files, and as circuits can be drawn of.

Checked before anything of the claimed size is built: a configuration is a few hundred bytes that anybody can write, and
the libraries that read it make lists and tables as long as it says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from discogp.circuits.document import MAX_EDGES
from discogp.errors import ModelError
from discogp.models.families.reading import setting_error
from discogp.models.families.table import Architecture
from discogp.models.leftovers import is_leftover
from discogp.models.load_errors import first_line
from discogp.models.stored import Stored

MAX_LAYERS = 512
"""More than any dense decoder has."""
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "max_window_layers")
_HEADS = ("num_attention_heads", "n_head", "num_heads")
_MAX_LABELS = 100_000
_MAX_BUFFER_BYTES = 2**30
_FLOATS = ("F64", "F32", "F16", "BF16")


def check_claims(raw_config: Mapping[str, Any], shown: str) -> None:
    """Refuse a configuration from whose plain numbers transformers would build something without end, or fail.

    Called with the content of config.json, before transformers sees it. ModelError names the key.
    """
    for path, value in _numbers(raw_config, "config.json"):
        if (isinstance(value, float) and not math.isfinite(value)) or abs(value) >= 2**63:
            raise _claim(shown, path, value, "a finite number of at most 18 digits")
    for key in _LAYERS:
        value = raw_config.get(key)
        if isinstance(value, (int, float)) and value > MAX_LAYERS:
            raise _claim(shown, f"config.json: {key}", value, f"a whole number from 1 to {MAX_LAYERS}")
    labels = raw_config.get("num_labels")
    if isinstance(labels, (int, float)) and labels > _MAX_LABELS:
        raise _claim(shown, "config.json: num_labels", labels, f"a whole number up to {_MAX_LABELS:,}")
    kinds = raw_config.get("attention_types")
    repeated = sum(value for _, value in _numbers(kinds, "") if value > 0)
    if repeated > MAX_LAYERS:
        raise _claim(shown, "config.json: attention_types", kinds, f"kinds for at most {MAX_LAYERS} layers")
    if "configuration_files" in raw_config:
        raise ModelError(
            f"model {shown!r}: its config.json points to other files (configuration_files), one for each version of "
            "transformers. Put the one that is meant in its place"
        )


def claimed_shape(raw_config: Mapping[str, Any]) -> tuple[int, int] | None:
    """(layers, heads) of a configuration, for a guess at its graph; None where it does not say, or is absurd."""
    found = [next((raw_config[key] for key in keys if key in raw_config), None) for keys in (_LAYERS, _HEADS)]
    layers, heads = (n if isinstance(n, int) and not isinstance(n, bool) and n > 0 else 0 for n in found)
    if not layers or not heads or layers > MAX_LAYERS or _edges(layers, heads) > MAX_EDGES:
        return None
    return layers, heads


def check_shape(row: Architecture, hf_config: Any) -> None:
    """Refuse impossible sizes before a model of that size is built."""
    for key in ("hidden_size", "num_attention_heads", "vocab_size", "max_position_embeddings"):
        _count(hf_config, key)
    layers = _count(hf_config, "num_hidden_layers", MAX_LAYERS)
    width, heads = hf_config.hidden_size, hf_config.num_attention_heads
    for key in ("head_dim", "num_key_value_heads", "intermediate_size", "ffn_dim", "n_inner"):
        if getattr(hf_config, key, None) is not None:
            _count(hf_config, key)
    if getattr(hf_config, "head_dim", None) is None and width % heads:
        raise setting_error(row.name, "hidden_size", width, f"a multiple of the number of heads ({heads})")
    shared = getattr(hf_config, "num_key_value_heads", None)
    if shared is not None and heads % shared:
        raise setting_error(row.name, "num_key_value_heads", shared, f"a divisor of the number of heads ({heads})")
    if _edges(layers, heads) > MAX_EDGES:
        raise ModelError(
            f"config.json: {layers} layers of {heads} heads make more than {MAX_EDGES:,} edges, which is more than a "
            "circuit may have. Pass a smaller model"
        )


def check_room(row: Architecture, hf_config: Any, stored: Stored) -> None:
    """Refuse a model that is larger than what its weight files hold, or stored in numbers that are not its weights."""
    for name, tensor in stored.tensors.items():
        if tensor.dtype not in _FLOATS and not is_leftover(name):
            raise ModelError(
                f"{name!r} in its weight files is stored as {tensor.dtype}; masks need plain weights ("
                f"{', '.join(_FLOATS)}). Pass the checkpoint it was made from, or one de-quantised"
            )
    there = sum(tensor.numel for name, tensor in stored.tensors.items() if not is_leftover(name))
    for key in ("hidden_size", "num_attention_heads", "vocab_size", "head_dim", "intermediate_size", "ffn_dim"):
        value = getattr(hf_config, key, None)
        if isinstance(value, int) and value > there:
            raise _too_large(f"{key} is {value:,}", there)
    wanted, masks = _built_sizes(row, hf_config)
    if masks > _MAX_BUFFER_BYTES:
        value = hf_config.max_position_embeddings
        raise _too_large(f"max_position_embeddings is {value:,}, whose masks take {masks:,} bytes", there)
    if wanted > 2 * there:  # where less is missing, it is named once the rest is loaded
        raise _too_large(f"it describes {wanted:,} parameters", there)


def _built_sizes(row: Architecture, hf_config: Any) -> tuple[int, int]:
    """Of the model that transformers would build: its parameters, a tied head counted once, and the bytes of what it
    computes beforehand (masks that grow with the square of positions). Takes no memory for them."""
    import transformers

    try:
        with torch.device("meta"):
            module = getattr(transformers, row.name)(hf_config)
        buffers = sum(buffer.numel() * buffer.element_size() for buffer in module.buffers())
        return sum(parameter.numel() for parameter in module.parameters()), buffers
    except Exception as error:  # whatever impossible sizes make the module raise
        raise ModelError(
            f"config.json describes no model that can be built: {first_line(error)}. The file is damaged; download the "
            "model again"
        ) from error


def _too_large(what: str, there: int) -> ModelError:
    return ModelError(
        f"config.json: {what}, but the weight files hold {there:,} numbers. The two do not belong together; download "
        "the model again"
    )


def _edges(layers: int, heads: int) -> int:
    return (layers * (heads + 1) + 1) * (layers * (3 * heads + 1) + 1) // 2


def _numbers(value: Any, path: str) -> Iterator[tuple[str, int | float]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{path}: {key}" if path == "config.json" else f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _numbers(inner, f"{path}[{index}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


def _claim(shown: str, path: str, value: object, allowed: str) -> ModelError:
    return ModelError(
        f"model {shown!r}: {path[:120]} is {str(value)[:60]}, must be {allowed}. The file is damaged; download the "
        "model again"
    )


def _count(hf_config: Any, key: str, maximum: int | None = None) -> int:
    value = getattr(hf_config, key, None)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1 or (maximum is not None and value > maximum):
        allowed = f"a whole number from 1 to {maximum}" if maximum else "a positive whole number"
        raise ModelError(
            f"config.json: {key} is {value!r}, must be {allowed}. The file is damaged; download the model again"
        )
    return value
