"""What every extractor needs: parameters by name with checked shapes, and settings that are refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from discogp.errors import ModelError, brief
from discogp.models.weights import Activation

Parameters = Mapping[str, Tensor]


def setting_error(architecture: str, key: str, value: object, allowed: str) -> ModelError:
    return ModelError(
        f"{architecture} with {key}={brief(value)} is not reproduced exactly here, so it is refused; allowed: "
        f"{allowed}. Pass a checkpoint with that setting"
    )


def require(architecture: str, hf: Any, **settings: object) -> None:
    """ModelError for the first setting whose value is not the one that is reproduced (None and False are alike)."""
    for key, allowed in settings.items():
        value = getattr(hf, key, allowed)
        if value != allowed and not (not allowed and not value):
            raise setting_error(architecture, key, value, repr(allowed))


_ACTIVATIONS: Mapping[str, Activation] = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu": "gelu",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
}


def activation(architecture: str, hf: Any, key: str) -> Activation:
    value = getattr(hf, key)
    if isinstance(value, str) and value in _ACTIVATIONS:
        return _ACTIVATIONS[value]
    raise setting_error(architecture, key, value, ", ".join(_ACTIVATIONS))


def positive(architecture: str, hf: Any, key: str) -> float | None:
    """A setting that is a positive number or None."""
    value = getattr(hf, key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise setting_error(architecture, key, value, "a positive number, or null")
    return float(value)


def window(architecture: str, hf: Any, key: str) -> int | None:
    """A setting that is a number of positions or None."""
    value = getattr(hf, key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise setting_error(architecture, key, value, "a positive whole number, or null")
    return value


class Reader:
    """Takes parameters by name, checks their shapes and hands out detached fp32 tensors."""

    def __init__(self, parameters: Parameters, prefix: str = "") -> None:
        self._parameters = parameters
        self._prefix = prefix

    def under(self, prefix: str) -> Reader:
        return Reader(self._parameters, self._prefix + prefix)

    def has(self, name: str) -> bool:
        return self._prefix + name in self._parameters

    def __call__(self, name: str, *shape: int) -> Tensor:
        full = self._prefix + name
        if full not in self._parameters:
            raise ModelError(f"the checkpoint has no parameter {full!r}. It is incomplete; download the model again")
        tensor = self._parameters[full].detach().float()
        if tuple(tensor.shape) != shape:
            raise ModelError(
                f"parameter {full!r} has the shape {tuple(tensor.shape)}; config.json asks for {shape}. The "
                "two files do not belong together; download the model again"
            )
        return tensor.contiguous()

    def optional(self, name: str, *shape: int) -> Tensor | None:
        """A parameter that not every checkpoint of the family has."""
        return self(name, *shape) if self.has(name) else None

    # The three below read the matrices of torch's Linear layers, which are stored as [out, in].

    def linear(self, name: str, outer: int, inner: int) -> Tensor:
        """[out, in] -> [in, out]"""
        return self(f"{name}.weight", outer, inner).T.contiguous()

    def into_heads(self, name: str, heads: int, d_head: int, d_model: int) -> Tensor:
        """[n·dh, D] -> [n, D, dh]"""
        whole = self(f"{name}.weight", heads * d_head, d_model)
        return whole.view(heads, d_head, d_model).transpose(1, 2).contiguous()

    def out_of_heads(self, name: str, heads: int, d_head: int, d_model: int) -> Tensor:
        """[D, n·dh] -> [n, dh, D]"""
        return self.linear(name, d_model, heads * d_head).view(heads, d_head, d_model)

    def head_biases(self, name: str, heads: int, d_head: int) -> Tensor | None:
        """[n·dh] -> [n, dh]"""
        bias = self.optional(f"{name}.bias", heads * d_head)
        return None if bias is None else bias.view(heads, d_head)


def unembedding(read: Reader, name: str, embed: Tensor, hf: Any) -> Tensor:
    """[V, D] -> [D, V]: a view of the embedding where the two are tied, otherwise a matrix of its own."""
    if hf.tie_word_embeddings:
        return embed.T
    return read.linear(name, *embed.shape)
