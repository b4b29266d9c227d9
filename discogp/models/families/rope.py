"""Rotary positions out of a Hugging Face configuration.

The numbers come from `rope_parameters`: other places that state them (a bridge's rotary_base) can hold a default.
Frequencies and scale of the types that it knows are computed by transformers itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from discogp.models.families.reading import setting_error
from discogp.models.weights import Rotary


def rotary(architecture: str, hf: Any, d_head: int, *, partial: bool = False, layer_type: str = "") -> Rotary:
    """`partial`: whether the class can rotate a part of a head only. `layer_type`: of a configuration with different
    rotations for different layers."""
    rope, place = dict(hf.rope_parameters or {}), "rope_parameters"
    if layer_type:
        rope, place = dict(rope.get(layer_type) or {}), f"{place}.{layer_type}"
    kind, theta = rope.get("rope_type", "default"), rope.get("rope_theta")
    if not isinstance(theta, (int, float)) or not theta > 0:
        raise setting_error(architecture, f"{place}.rope_theta", theta, "a positive number")
    # LongRoPE bounds the prompt's length, which is one for all layers: not where each kind of layer has its own dict.
    allowed = ("default", "linear", "llama3") if layer_type else ("default", "linear", "llama3", "longrope")
    if kind not in allowed:
        others = "others change with the prompt's length or are not built in"
        raise setting_error(architecture, f"{place}.rope_type", kind, f"{', '.join(allowed)} ({others})")
    factor = rope.get("partial_rotary_factor")
    part = 1.0 if factor is None else float(factor)
    if not 0 < part <= 1 or (part != 1 and not partial):
        raise setting_error(architecture, f"{place}.partial_rotary_factor", factor, "1.0")
    dims = int(d_head * part)
    if dims % 2 or dims < 2:
        raise setting_error(architecture, f"{place}: rotated dimensions of a head", dims, "an even number from 2")
    if kind == "default":
        return Rotary(float(theta), dims)
    if kind == "longrope":
        _check_short_factors(architecture, rope, dims // 2)
    frequencies, scale = ROPE_INIT_FUNCTIONS[kind](hf, layer_type=layer_type or None)
    return Rotary(float(theta), dims, tuple(frequencies.tolist()), float(scale))


def _check_short_factors(architecture: str, rope: Mapping[str, Any], n_frequencies: int) -> None:
    """LongRoPE for prompts as long as those of pretraining takes the short factors.

    Longer prompts would turn with other frequencies from their first position on; `longest_prompt` keeps them out.
    """
    short = rope.get("short_factor")
    if not isinstance(short, (list, tuple)) or len(short) != n_frequencies:
        raise setting_error(architecture, "rope_parameters.short_factor", short, f"a list of {n_frequencies} numbers")


def longest_prompt(hf: Any) -> int:
    """Positions that a model takes: with LongRoPE those of its pretraining (see above)."""
    rope = hf.rope_parameters or {}
    if rope.get("rope_type") == "longrope":
        return min(hf.max_position_embeddings, int(rope["original_max_position_embeddings"]))
    return hf.max_position_embeddings
