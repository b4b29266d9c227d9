"""Rotary positions out of a Hugging Face configuration.

The numbers come from `rope_parameters`: other places that state them (a bridge's rotary_base) can hold a default.
The formulas equal those of transformers, which a test compares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

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
    frequencies = [float(theta) ** (-2 * i / dims) for i in range(dims // 2)]
    if kind == "linear":
        return Rotary(float(theta), dims, tuple(f / float(rope["factor"]) for f in frequencies))
    if kind == "llama3":
        low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
        trained, slowed = float(rope["original_max_position_embeddings"]), float(rope["factor"])
        return Rotary(float(theta), dims, tuple(_llama3(f, slowed, low, high, trained) for f in frequencies))
    return Rotary(float(theta), dims, *_longrope(architecture, rope, frequencies, hf.max_position_embeddings))


def _llama3(frequency: float, factor: float, low: float, high: float, trained: float) -> float:
    """Llama 3.1: long waves are slowed by `factor`, short ones kept, those between blended."""
    wavelength = 2 * math.pi / frequency
    if wavelength < trained / high:
        return frequency
    if wavelength > trained / low:
        return frequency / factor
    blend = (trained / wavelength - low) / (high - low)
    return (1 - blend) * frequency / factor + blend * frequency


def _longrope(
    architecture: str, rope: Mapping[str, Any], frequencies: list[float], max_positions: int
) -> tuple[tuple[float, ...], float]:
    """LongRoPE for prompts as long as those of pretraining, which have factors of their own: the short ones.

    Longer prompts would turn with other frequencies from their first position on; `max_positions` keeps them out.
    """
    short, scale = rope["short_factor"], rope.get("attention_factor")
    if not isinstance(short, (list, tuple)) or len(short) != len(frequencies):
        raise setting_error(
            architecture, "rope_parameters.short_factor", short, f"a list of {len(frequencies)} numbers"
        )
    if scale is None:
        trained = float(rope["original_max_position_embeddings"])
        factor = float(rope.get("factor") or max_positions / trained)
        scale = math.sqrt(1 + math.log(factor) / math.log(trained)) if factor > 1 else 1.0
    return tuple(f / float(s) for f, s in zip(frequencies, short, strict=True)), float(scale)


def longest_prompt(hf: Any) -> int:
    """Positions that a model takes: with LongRoPE those of its pretraining (see above)."""
    rope = hf.rope_parameters or {}
    if rope.get("rope_type") == "longrope":
        return min(hf.max_position_embeddings, int(rope["original_max_position_embeddings"]))
    return hf.max_position_embeddings
