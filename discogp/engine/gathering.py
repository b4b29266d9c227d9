"""Sums of a few rows of a table, many such sums at once, and what their weights' gradients are.

Axes: token n, bag k, member e (all bags' members side by side), residual stream D. A mask that keeps a few per cent of
the edges makes of every reader's input such a sum. Fetched row by row, while a token's rows lie in a core's cache, it
costs by the edge; a matrix product costs by the pair of nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

# Indices are made for so many members at once; more would cost memory and gain nothing.
_INDICES_AT_ONCE = 500_000
# So many numbers of the sums are made at once: they are still in the cache when they are put in their place.
_NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Places:
    """Where members lie in a table of rows: that of token i at `first` + i · `stride`, [e] each."""

    first: Int[Tensor, "e"]
    stride: Int[Tensor, "e"]

    def of_tokens(self, tokens: range) -> Int[Tensor, "_"]:
        """[n·e], token by token."""
        each = torch.arange(tokens.start, tokens.stop, dtype=self.first.dtype)[:, None]
        return torch.addcmul(self.first, each, self.stride).flatten()


def index_type(rows: int) -> torch.dtype:
    """The smaller integers where they can number a table's rows: half the memory traffic of the indices."""
    return torch.int32 if rows < 2**31 else torch.int64


def weighted_sums(
    table: Float[Tensor, "m D"],
    members: Places,
    weights: Float[Tensor, "e"],
    sizes: Int[Tensor, "k"],
    out: Float[Tensor, "n k D"],
    add: float = 0.0,
) -> Float[Tensor, "n k D"]:
    """out [n, k, D] ← for every token, the sums of k bags; or added to it, `add` times.

    `sizes`: how many of the members, in order, each bag has. `out` may have any strides.
    """
    n, k, d = out.shape
    if not len(weights):
        return out if add else out.zero_()
    kind = members.first.dtype
    begins = (sizes.cumsum(0) - sizes).to(kind)
    step = min(n, max(1, _NUMBERS_AT_ONCE // (k * d)))
    offsets = (torch.arange(step, dtype=kind)[:, None] * len(weights) + begins).flatten()
    repeated = weights.expand(step, -1).flatten()
    for start in range(0, n, step):
        tokens = range(start, min(start + step, n))
        indices = members.of_tokens(tokens)
        begin, each = offsets[: len(tokens) * k], repeated[: len(indices)]
        sums = F.embedding_bag(indices, table, begin, mode="sum", per_sample_weights=each).view(-1, k, d)
        target = out[tokens.start : tokens.stop]
        target.add_(sums, alpha=add) if add else target.copy_(sums)
    return out


def weight_gradients(
    gradients: Float[Tensor, "g D"], bags: Places, table: Float[Tensor, "m D"], members: Places, n: int
) -> Float[Tensor, "e"]:
    """[e] Σ over tokens of ⟨a member's bag's gradient, the member's row⟩; `bags`: where in `gradients` the bags lie."""
    total = table.new_zeros(len(members.first))
    if not len(total):
        return total
    nowhere = torch.zeros(0, dtype=members.first.dtype)
    step = max(1, _INDICES_AT_ONCE // len(total))
    for start in range(0, n, step):
        tokens = range(start, min(start + step, n))
        each = torch.ops.aten._embedding_bag_per_sample_weights_backward(
            gradients, table, members.of_tokens(tokens), nowhere, bags.of_tokens(tokens), 0, -1
        )
        total += each.view(len(tokens), -1).sum(0)
    return total
