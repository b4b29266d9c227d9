"""How large a model a folder may be: as large as its weight files, and as circuits can be drawn of.

Checked before anything of the claimed size is built.
"""

from __future__ import annotations

from typing import Any

import torch

from discogp.circuits.document import MAX_EDGES
from discogp.errors import ModelError, brief
from discogp.models.claims import MAX_LAYERS, most_edges
from discogp.models.families.reading import setting_error
from discogp.models.families.table import Architecture
from discogp.models.leftovers import is_leftover
from discogp.models.load_errors import first_line
from discogp.models.stored import Stored

_MAX_BUFFER_BYTES = 2**30
_FLOATS = ("F64", "F32", "F16", "BF16")


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
    if most_edges(layers, heads) > MAX_EDGES:
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


def _count(hf_config: Any, key: str, maximum: int | None = None) -> int:
    value = getattr(hf_config, key, None)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1 or (maximum is not None and value > maximum):
        allowed = f"a whole number from 1 to {maximum}" if maximum else "a positive whole number"
        raise ModelError(
            f"config.json: {key} is {brief(value)}, must be {allowed}. The file is damaged; download the model again"
        )
    return value
