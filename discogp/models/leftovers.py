"""What a checkpoint stores beside its parameters: buffers of older code, which today's computes itself.

Each is read and compared with what this model computes. What agrees cannot change a logit, and loads with a note; what
differs (a mask with another window, other frequencies) says that the author's model was another one, and is refused by
name. Nothing is passed over for its name alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from discogp.errors import ModelError
from discogp.models.stored import Stored
from discogp.models.weights import LayerWeights, ModelWeights, Rotary

_MASKED = -9000.0
"""Scores of hidden positions: −10⁴ (in bf16 9984) or less; e to that power is 0 in fp32."""


@dataclass(frozen=True)
class _Kind:
    """A buffer: how its name ends, what it is called in a note, and whether it agrees with what is computed here.

    `agrees` is given the tensor, the model and the layers that the name speaks of (one, or all)."""

    ending: re.Pattern[str]
    title: str
    agrees: Callable[[Tensor, ModelWeights, tuple[LayerWeights, ...]], bool]


def is_leftover(name: str) -> bool:
    """Whether a stored name may be such a buffer; no architecture of the table has a parameter named so."""
    return _kind(name) is not None


def leftover_notes(stored: Stored, weights: ModelWeights) -> tuple[str, ...]:
    """What to tell of the buffers of a checkpoint, all of which agree with its model. ModelError for one that does
    not."""
    names = [name for name in stored.tensors if is_leftover(name)]
    counts: Counter[str] = Counter()
    for name, tensor in stored.read(names):
        kind = _kind(name)
        assert kind is not None
        if not kind.agrees(tensor, weights, _layers(name, weights)):
            raise ModelError(
                f"model {stored.shown!r}: {name!r} in its weight files holds {kind.title} other than config.json "
                "gives, so its author's model was another one. Correct config.json, or pass another checkpoint"
            )
        counts[kind.title] += 1
    if not counts:
        return ()
    listed = ", ".join(f"{title} ({count})" for title, count in counts.items())
    return (f"the weight files also hold what this model computes itself, and it is the same: {listed}",)


def _kind(name: str) -> _Kind | None:
    return next((kind for kind in _KINDS if kind.ending.search(name)), None)


def _layers(name: str, weights: ModelWeights) -> tuple[LayerWeights, ...]:
    """Those that a name speaks of: one by its number; all; or, in Gemma 3, those that slide or those that do not."""
    number = re.search(r"(?:^|\.)(?:h|layers)\.(\d{1,6})\.", name)
    if number is not None:
        index = int(number.group(1))
        return weights.layers[index : index + 1]
    if len({layer.attention.rotary for layer in weights.layers}) == 1:
        return weights.layers
    local = "_local" in name or "sliding_" in name
    return tuple(layer for layer in weights.layers if (layer.attention.window is not None) == local)


def _is_mask(tensor: Tensor, weights: ModelWeights, layers: tuple[LayerWeights, ...]) -> bool:
    """1 where a query sees a key: all before it, or as far back as the layer's window reaches."""
    size = tensor.shape[-1] if tensor.ndim else 0
    if len(layers) != 1 or tensor.ndim < 2 or tensor.numel() != size * size or not size:
        return False
    seen = tensor.reshape(size, size)
    causal = torch.ones(size, size, dtype=torch.bool).tril()
    allowed = [causal]
    if (window := layers[0].attention.window) is not None:
        allowed.append(causal.triu(1 - window))
    return bool(((seen == 0) | (seen == 1)).all()) and any(torch.equal(seen != 0, mask) for mask in allowed)


def _is_hidden_mask(tensor: Tensor, weights: ModelWeights, layers: tuple[LayerWeights, ...]) -> bool:
    """Not 0 where a query does not see a key: nothing behind it."""
    size = tensor.shape[-1] if tensor.ndim else 0
    if tensor.ndim < 2 or tensor.numel() != size * size or not size:
        return False
    hidden = torch.ones(size, size, dtype=torch.bool).triu(1)
    return torch.equal(tensor.reshape(size, size) != 0, hidden)


def _is_masked_score(tensor: Tensor, weights: ModelWeights, layers: tuple[LayerWeights, ...]) -> bool:
    return tensor.numel() == 1 and bool(tensor.float() <= _MASKED)


def _is_frequencies(tensor: Tensor, weights: ModelWeights, layers: tuple[LayerWeights, ...]) -> bool:
    return bool(layers) and all(
        any(_same(tensor, frequencies) for frequencies in _frequencies(layer.attention.rotary)) for layer in layers
    )


def _frequencies(rotary: Rotary | None) -> Iterator[Tensor]:
    """Those of a layer; and unscaled, where scaling only slows all down alike, since older code stored them so and
    scaled positions instead."""
    if rotary is None:
        return
    ours = rotary.frequencies()
    yield ours
    plain = Rotary(rotary.theta, rotary.dims).frequencies()
    ratio = plain / ours
    if rotary.scale == 1.0 and torch.allclose(ratio, ratio[0].expand_as(ratio), rtol=1e-5):
        yield plain


def _is_rotation(turn: Callable[[Tensor], Tensor]) -> Callable[[Tensor, ModelWeights, tuple[LayerWeights, ...]], bool]:
    """A table of cosines or sines [.., position, rotated dimension]."""

    def agrees(tensor: Tensor, weights: ModelWeights, layers: tuple[LayerWeights, ...]) -> bool:
        rotary = layers[0].attention.rotary if layers else None
        if rotary is None or tensor.ndim < 2 or tensor.numel() != tensor.shape[-1] * tensor.shape[-2]:
            return False
        positions = torch.arange(tensor.shape[-2]).float()
        angles = positions[:, None] * rotary.frequencies()
        wanted = turn(torch.cat([angles, angles], -1)) * rotary.scale
        near = 1e-3 if tensor.dtype in (torch.float32, torch.float64) else 1e-2
        flat = tensor.reshape(tensor.shape[-2:]).float()
        return flat.shape == wanted.shape and torch.allclose(flat, wanted, rtol=0, atol=near)

    return agrees


def _is_counting(tensor: Tensor, weights: ModelWeights, layers: tuple[LayerWeights, ...]) -> bool:
    flat = tensor.flatten()
    return torch.equal(flat.long(), torch.arange(len(flat))) and not tensor.is_floating_point()


def _is_embed_scale(tensor: Tensor, weights: ModelWeights, layers: tuple[LayerWeights, ...]) -> bool:
    return tensor.numel() == 1 and _same(tensor.flatten(), torch.tensor([weights.config.embed_scale]))


def _is_one_number(tensor: Tensor, weights: ModelWeights, layers: tuple[LayerWeights, ...]) -> bool:
    return tensor.numel() == 1


def _same(tensor: Tensor, wanted: Tensor) -> bool:
    """Equal but for the rounding to the tensor's own dtype."""
    if tensor.shape != wanted.shape or not tensor.is_floating_point():
        return False
    info = torch.finfo(tensor.dtype)
    rounding = max(info.eps, torch.finfo(torch.float32).eps * 8)
    smallest = info.smallest_normal * info.eps
    return torch.allclose(tensor.double(), wanted.double(), rtol=rounding, atol=smallest)


def _ends(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|\.){pattern}$")


_ROTARY = r"rotary_emb(?:_local)?\."
_KINDS: tuple[_Kind, ...] = (
    _Kind(_ends(r"(?:attn|attention|self_attn)\.bias"), "causal masks", _is_mask),
    _Kind(_ends(r"(?:attn|attention|self_attn)\.masked_bias"), "scores of masked positions", _is_masked_score),
    _Kind(_ends(r"causal_mask"), "causal masks", _is_hidden_mask),
    _Kind(
        _ends(_ROTARY + r"(?:(?:full|sliding)_attention_)?(?:original_)?inv_freq"),
        "rotary frequencies",
        _is_frequencies,
    ),
    _Kind(_ends(_ROTARY + "cos_cached"), "rotary tables", _is_rotation(torch.cos)),
    _Kind(_ends(_ROTARY + "sin_cached"), "rotary tables", _is_rotation(torch.sin)),
    _Kind(_ends(r"position_ids"), "numbers of positions", _is_counting),
    _Kind(_ends(r"embed_tokens\.embed_scale"), "the scale of embeddings", _is_embed_scale),
    _Kind(_ends(r"(?:version|_float_tensor)"), "version numbers", _is_one_number),
)
