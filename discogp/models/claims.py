"""What a model folder's config.json claims, as plain numbers: checked before a library builds what it says.

A configuration is a few hundred bytes that anybody can write, and the libraries that read it make lists as long as it
says. Needs no torch: the page asks as soon as a path is typed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from discogp.circuits.document import MAX_EDGES
from discogp.errors import ModelError, brief

MAX_LAYERS = 512
"""More than any dense decoder has."""
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_HEADS = ("num_attention_heads", "n_head", "num_heads")
_MAX_LABELS = 100_000


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
    if not layers or not heads or layers > MAX_LAYERS or most_edges(layers, heads) > MAX_EDGES:
        return None
    return layers, heads


def most_edges(layers: int, heads: int) -> int:
    """At least as many as a graph of that size has."""
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
        f"model {shown!r}: {path[:120]} is {brief(value)}, must be {allowed}. The file is damaged; download the "
        "model again"
    )
