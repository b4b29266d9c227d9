"""Buffers that are used again from pass to pass."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Workspace:
    """Buffers that one caller uses again and again, since fresh memory of this size costs as much as the arithmetic.

    A masked pass that is to be differentiated lives in them until its backward pass; a second pass started
    before that would overwrite it, so it counts passes and the backward pass checks.
    """

    buffers: dict[str, Tensor] = field(default_factory=dict)
    passes: int = 0

    def get(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        size = 1
        for n in shape:
            size *= n
        buffer = self.buffers.get(name)
        if buffer is None or buffer.numel() < size or buffer.device != like.device or buffer.dtype != like.dtype:
            buffer = self.buffers[name] = torch.empty(size, dtype=like.dtype, device=like.device)
        return buffer[:size].view(shape)
