"""Uniform random numbers for masks with as many entries as a model has weights.

Drawn block by block, each block from a stream of its own that seed, step and block alone determine. So the same
numbers can be drawn a second time, when the slopes are needed, instead of being kept; and neither the number of threads
nor what was drawn before, nor a search that was interrupted, changes them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

# On a CPU a block and what is computed from it stay in the cache; a GPU wants few and large ones.
_BLOCK = {"cpu": 2**18, "cuda": 2**24}


class UniformDraws:
    """A number in (0, 1) for every entry of [n], anew every step."""

    def __init__(self, n: int, seed: int, device: torch.device) -> None:
        self.n, self.seed, self.device = n, seed, device
        size = _BLOCK.get(device.type, 2**18)
        self.blocks = [slice(start, min(start + size, n)) for start in range(0, n, size)]
        self._workspaces = torch.empty(2, min(size, n), device=device)
        if device.type != "cpu":
            self._generator = torch.Generator(device)

    def each(self, step: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """(places, draws, a second tensor of the same length to compute in) of every block; both are used again."""
        for index, places in enumerate(self.blocks):
            first, second = self._workspaces[:, : places.stop - places.start]
            yield places, self._fill(first, np.random.SeedSequence([self.seed, step, index])), second

    def _fill(self, out: Tensor, seed: np.random.SeedSequence) -> Tensor:
        if self.device.type == "cpu":
            # Half the time of torch's generator. 24 of the 32 bits survive in a float.
            words = np.random.Generator(np.random.SFC64(seed)).integers(0, 2**64, (len(out) + 1) // 2, np.uint64)
            out.copy_(torch.from_numpy(words.view(np.int32)[: len(out)])).mul_(2.0**-32).add_(0.5)
        else:
            self._generator.manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))
            out.uniform_(generator=self._generator)
        # A draw of exactly 0 or 1 has infinite logit, whose slope would be nan.
        return out.clamp_(1e-6, 1 - 1e-6)
