"""The different beginnings of a batch's prompts: what is the same in several of them is computed once.

Axes: prompt b, position t, beginning n. Attention looks back only, so what a model computes at a position depends on
the tokens up to there alone. Prompts of one task begin alike (the opening token, words of a template, a chat's frame),
and behind the last token that is asked for nothing is needed at all: of SmolLM2's 194 prompts × 12 positions for
anaphor agreement a third is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Prefixes:
    """`prompts`, `positions` [n]: where each beginning ends for the first time, in the order of the batch.

    `rows` [b, w]: the beginning that ends at each of the first w positions, those of the longest prompt; behind a
    prompt's end, its last one again. `ends` [b]: whole prompts. `whole`: whether no two are the same, none is shorter.
    """

    prompts: Int[Tensor, "n"]
    positions: Int[Tensor, "n"]
    rows: Int[Tensor, "b w"]
    ends: Int[Tensor, "b"]
    whole: bool

    @classmethod
    def of(
        cls, tokens: Int[Tensor, "b t"], last: Int[Tensor, "b"], beside: Int[Tensor, "b t"] | None = None
    ) -> Prefixes:
        """Of prompts `tokens` [b, t] up to the positions `last` [b]. `beside` [b, t]: other tokens that have to be the
        same, too, where what is computed depends on them (counterfactual prompts)."""
        words, stop = [x.cpu().numpy().astype(np.int64) for x in (tokens, last)]
        if beside is not None:
            other = beside.cpu().numpy().astype(np.int64)
            words = words * (1 + other.max()) + other
        return cls._of(words, stop, tokens.device)

    @classmethod
    def unshared(cls, tokens: Int[Tensor, "b t"], last: Int[Tensor, "b"]) -> Prefixes:
        """The same with every prompt's beginnings its own, whatever they say."""
        b, t = tokens.shape
        return cls._of(np.arange(b)[:, None].repeat(t, 1), last.cpu().numpy().astype(np.int64), tokens.device)

    @classmethod
    def _of(cls, words: NDArray[np.int64], stop: NDArray[np.int64], device: torch.device) -> Prefixes:
        (b, t), width, most = words.shape, int(stop.max()) + 1, 1 + int(words.max())
        before, rows = np.zeros(b, dtype=np.int64), np.empty((b, width), dtype=np.int64)
        places, n = list[NDArray[np.int64]](), 0
        for position in range(width):
            there = np.flatnonzero(position <= stop)
            key = before[there] * most + words[there, position]
            _, first, which = np.unique(key, return_index=True, return_inverse=True)
            before[there] = n + which
            rows[:, position] = before
            places.append(there[first] * width + position)
            n += len(first)
        found = np.concatenate(places)
        order = np.argsort(found)
        rank = np.empty(n, dtype=np.int64)
        rank[order] = np.arange(n)
        rows, found = rank[rows], found[order]
        columns = (found // width, found % width, rows, rows[np.arange(b), stop])
        return cls(*(torch.from_numpy(column).to(device) for column in columns), whole=n == b * t)

    def __len__(self) -> int:
        return len(self.prompts)

    def spread(self, x: Float[Tensor, "h n e"]) -> Float[Tensor, "h b w e"]:
        """From beginnings [h, n, e] to the prompts' positions [h, b, w, e]."""
        spread = x if self.whole else x.index_select(1, self.rows.flatten())
        return spread.view(len(x), *self.rows.shape, -1)

    def gathered(self, x: Float[Tensor, "b h w e"]) -> Float[Tensor, "h n e"]:
        """And back, from [b, h, w, e] to [h, n, e]."""
        by_position = x.transpose(1, 2)
        by_beginning = by_position.flatten(0, 1) if self.whole else by_position[self.prompts, self.positions]
        return by_beginning.transpose(0, 1)
