"""The masked pass where few edges are on, or few are off: the sums of `masked_pass` edge by edge.

Axes as there. Most of a search works on masks that keep a few per cent, and on their complements. Readers' inputs are
then gathered (`gathering`); where few edges are *off*, as in the complement, an input is the whole residual stream less
those. On the way back every node collects what its later readers say, out of one table of all readers' gradients
that takes the place of their inputs; nothing of the size of all sources is carried from layer to layer. Gradients are
computed for the wanted entries of the mask alone, if they are few.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from discogp.circuits.graph import ComputationGraph
from discogp.engine.gathering import Places, index_type, weight_gradients, weighted_sums
from discogp.engine.masked_pass import MaskedPass, mask_gradient

FEW = 0.15
"""Share of the edges up to which fetching them one by one is quicker than a product of matrices."""
READERS_AT_ONCE = 140
"""Readers whose sums are fetched in one go. With more, what they read has left the cache when the next one reads it."""


def differences(
    graph: ComputationGraph, mask: Tensor, valid: Tensor, recompute: bool = False
) -> tuple[Tensor, bool] | None:
    """The few entries by which a mask [R, P] differs from all off, or, then True, from all on. None if they are many.

    The difference is what to add to nothing, or to take off everything. Only fp32 on a CPU is computed so: a GPU's
    matrix products are quicker, and `recompute` has no table to collect from.
    """
    if recompute or mask.device.type != "cpu" or valid.dtype != torch.float32:
        return None
    on = mask.detach() * valid
    for few, off in ((on, False), (valid - on, True)):
        if int(few.count_nonzero()) <= FEW * graph.n_edges:
            return few, off
    return None


class GatheredPass(MaskedPass):
    """`few` and `off`: what `differences` found.

    A few layers at a time, their readers fetch what was written before all of them in one go, token by token, while
    the token's sources lie in a core's cache; what these layers write themselves is added layer by layer.
    """

    def __init__(self, *args: Any, few: Tensor, off: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.off = off
        self.rows, self.columns = few.nonzero(as_tuple=True)
        self.weights = few[self.rows, self.columns]
        self.kind = index_type(max(self.graph.n_readers, self.graph.n_sources) * self.n)
        layers = self.n_wide + (self.last is not None)
        step = max(1, READERS_AT_ONCE // self.graph.readers_per_layer)
        self.blocks = [range(first, min(first + step, layers)) for first in range(0, layers, step)]
        self._lay_out()

    def _lay_out(self) -> None:
        """The table of all wide readers' inputs, later of their gradients: block after block [n, r, D], end to end."""
        self.first, self.stride = torch.zeros(2, self.graph.n_readers, dtype=self.kind).unbind()
        self.parts: list[Tensor] = []
        sizes = [sum(_length(self.wide_rows(index)) for index in block) for block in self.blocks]
        rows = self.n_wide_readers if self.taping else max(sizes)
        self.table = self.workspace.get("readers", (rows * self.n, self.d), self.sources)
        end = 0
        for block, size in zip(self.blocks, sizes, strict=True):
            begin, place = end if self.taping else 0, 0
            part = self.table[begin : begin + size * self.n].view(self.n, size, self.d)
            for index in block:
                chosen = self.wide_rows(index)
                self.first[chosen] = begin + place + torch.arange(_length(chosen), dtype=self.kind)
                self.stride[chosen] = size
                self.parts.append(part[:, place : place + _length(chosen)])
                place += _length(chosen)
            end += size * self.n

    def inputs(self, layer: int) -> Tensor:
        return self.parts[layer]

    def mix_wide(self, index: int, out: Tensor) -> None:
        block = self.blocks[index // len(self.blocks[0])]
        first, before = (self.graph.head_columns(layer).start for layer in (block[0], index))
        if index == block[0]:
            rows = slice(self.wide_rows(index).start, self.wide_rows(block[-1]).stop)
            self._fetch(rows, slice(0, first), self._block(block))
        else:
            self._fetch(self.wide_rows(index), slice(first, before), out, add=True)
        self.add_replacement(out[:, : 3 * self.graph.n_heads], before)

    def _block(self, block: range) -> Tensor:
        """[n, r, D]: all wide readers of a block."""
        width = sum(self.parts[index].shape[1] for index in block)
        return self.parts[block[0]].as_strided((self.n, width, self.d), (width * self.d, self.d, 1))

    def _fetch(self, rows: slice, columns: slice, out: Tensor, add: bool = False) -> None:
        """out [n, r, D] ← or += what the wide readers among `rows` read of some sources."""
        chosen = self._entries(rows, columns)
        places = (self.stride[rows] > 0).cumsum(0) - 1  # a narrow layer's queries are no wide readers
        sizes = torch.bincount(places[self.rows[chosen] - rows.start], minlength=out.shape[1])
        what = self.sources.view(-1, self.d), self._sources(self.columns[chosen]), self.weights[chosen], sizes
        if self.off:
            everything = self.sources[:, columns].sum(1)[:, None]
            out.add_(everything) if add else out.copy_(everything)
            weighted_sums(*what, out, add=-1.0)
        else:
            weighted_sums(*what, out, add=1.0 if add else 0.0)

    def _entries(self, rows: slice, columns: slice) -> Tensor:
        """Which of the few entries are of wide readers in `rows` and of sources in `columns`, in the order of rows."""
        start, stop = torch.searchsorted(self.rows, torch.tensor([rows.start, rows.stop])).tolist()
        found = self.columns[start:stop]
        inside = (found >= columns.start) & (found < columns.stop) & (self.stride[self.rows[start:stop]] > 0)
        return inside.nonzero()[:, 0] + start

    def _sources(self, columns: Tensor) -> Places:
        return Places(columns.to(self.kind), torch.full((), self.graph.n_sources, dtype=self.kind).expand(len(columns)))

    # --------------------------------------------------------------- backward

    def walk_back(self, at_logits: Tensor) -> None:
        graph = self.graph
        at_ends = at_everything = None
        if self.last is None:
            at_everything = at_logits.view(self.n, 1, -1)
            self.d_mask[graph.logits_row :] = mask_gradient(at_everything, self.sources)
        else:
            at_ends = self.narrow_backward(at_logits, self.inputs(self.n_wide))
        scratch = self.scratch(3 * graph.n_heads, self.n)
        for block in reversed(self.blocks):
            layers = [index for index in block if index < self.n_wide]
            if not layers:
                continue
            columns = slice(graph.head_columns(layers[0]).start, graph.mlp_column(layers[-1]) + 1)
            at_block = self._collect(columns, slice(graph.mlp_row(block[-1]) + 1, graph.n_readers))
            if at_ends is not None:
                told = torch.bmm(self.narrow_mask[:, columns].T.expand(self.b, -1, -1), at_ends)
                at_block.index_add_(0, self.places, told)
            if at_everything is not None:
                at_block.addcmul_(self.mask[graph.logits_row, columns, None], at_everything)
            for index in reversed(layers):
                mine = slice(graph.head_columns(index).start, graph.mlp_column(index) + 1)
                at_nodes = at_block[:, mine.start - columns.start : mine.stop - columns.start]
                if index < block[-1]:
                    at_nodes += self._collect(mine, slice(graph.mlp_row(index) + 1, graph.mlp_row(block[-1]) + 1))
                self.block_backward(index, at_nodes, self.inputs(index), scratch)
        self._wide_gradients()

    def _collect(self, columns: slice, rows: slice) -> Tensor:
        """[n, c, D]: what the wide readers among `rows`, all of later layers, say to the sources `columns`."""
        chosen = self._entries(rows, columns)
        chosen = chosen[self.columns[chosen].argsort(stable=True)]
        sizes = torch.bincount(self.columns[chosen] - columns.start, minlength=_length(columns))
        members = Places(self.first[self.rows[chosen]], self.stride[self.rows[chosen]])
        at_nodes = self.sources.new_empty(self.n, len(sizes), self.d)
        if self.off:
            at_nodes.copy_(self._everything(rows)[:, None])
        return weighted_sums(self.table, members, self.weights[chosen], sizes, at_nodes, add=-1.0 if self.off else 0.0)

    def _everything(self, rows: slice) -> Tensor:
        """[n, D]: the sum of the gradients of all wide readers among `rows`."""
        total = self.sources.new_zeros(self.n, self.d)
        for index, part in enumerate(self.parts):
            if self.wide_rows(index).start >= rows.start and self.wide_rows(index).stop <= rows.stop:
                total += part.sum(1)
        return total

    def _wide_gradients(self) -> None:
        """`d_mask` of the wide readers, from their gradients and the sources."""
        asked = self.wanted * (self.stride > 0)[:, None]
        if int(asked.count_nonzero()) > FEW * self.graph.n_edges:
            for index, part in enumerate(self.parts):
                rows = self.wide_rows(index)
                before = self.graph.n_sources_of(rows.stop - 1)
                self.d_mask[rows, :before] = mask_gradient(part, self.sources[:, :before])
            return
        rows, columns = asked.nonzero(as_tuple=True)
        bags, members = Places(self.first[rows], self.stride[rows]), self._sources(columns)
        self.d_mask[rows, columns] = weight_gradients(self.table, bags, self.sources.view(-1, self.d), members, self.n)


def _length(places: slice) -> int:
    return int(places.stop - places.start)
