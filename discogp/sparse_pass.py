"""Running a sparse circuit: only what can reach the logits is computed.

Axes as in `masked_pass`. A circuit that keeps a few per cent of the edges leaves most heads without a path to the
logits; their outputs change nothing and are skipped, and so are the columns of dead sources in every product.
*Late* MLPs, from which every path to the logits stays at its own position, are computed at the last position alone.
No gradients: this is for looking at circuits, not for finding them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from discogp.compute import FoldedWeights, Rotation, root_mean_square_reciprocal, write_out
from discogp.graph import ComputationGraph
from discogp.masked_pass import Replacement


@torch.no_grad()
def sparse_logits(
    graph: ComputationGraph,
    folded: FoldedWeights,
    edge_mask: NDArray[np.bool_],
    tokens: Tensor,
    last: Tensor,
    replacement: Replacement | None = None,
) -> Tensor:
    """Logits [b, V] at the positions `last` [b] of the model that keeps the edges of `edge_mask` [E] and no others."""
    return _SparsePass(graph, folded, edge_mask, tokens, last, replacement).logits()


class _SparsePass:
    def __init__(
        self,
        graph: ComputationGraph,
        folded: FoldedWeights,
        edge_mask: NDArray[np.bool_],
        tokens: Tensor,
        last: Tensor,
        replacement: Replacement | None,
    ) -> None:
        self.graph, self.folded, self.config, self.replacement = graph, folded, folded.config, replacement
        self.tokens, (self.b, self.t) = tokens, tokens.shape
        kept = graph.reaching_logits(edge_mask)
        matrix = np.zeros((graph.n_readers, graph.n_sources), dtype=np.float32)
        matrix[graph.rows[kept], graph.columns[kept]] = 1
        # A replacement flows at every position; what is late is worked out for zero ablation only.
        self.late = _late_mlps(graph, matrix) if replacement is None else np.array([], dtype=np.int64)
        self.live = np.setdiff1d(np.flatnonzero(matrix.any(0)), self.late)
        self.matrix = matrix[:, self.live]
        self.mask = torch.from_numpy(self.matrix).to(tokens.device)
        self.late_mask = torch.from_numpy(matrix[:, self.late]).to(tokens.device)
        self.places = torch.arange(self.b, device=tokens.device) * self.t + last
        like = folded.source.embed
        self.sources = like.new_empty(len(self.live), self.b * self.t, self.config.d_model)
        self.late_sources = like.new_empty(len(self.late), self.b, self.config.d_model)

    def stored(self, columns: slice) -> slice:
        """Where the live ones of these sources, without the late ones, lie in the compact buffer."""
        start, stop = np.searchsorted(self.live, [columns.start, columns.stop])
        return slice(int(start), int(stop))

    def mix(self, rows: list[int], n_sources: int) -> Tensor:
        """Inputs [r, n, D] of readers, from the live sources among their first `n_sources`."""
        n_live = self.stored(slice(0, n_sources)).stop
        # The width is spelt out: with no live source, as in an empty circuit, it could not be inferred.
        width = self.b * self.t * self.config.d_model
        inputs = self.mask[rows, :n_live] @ self.sources[:n_live].view(n_live, width)
        inputs = inputs.view(len(rows), self.b * self.t, -1)
        if self.replacement is not None:
            # Dead sources count here: their edges are off, so their replacement flows.
            inputs += self.replacement.prefix_sum(n_sources, self.b, self.t)
        return inputs

    def project_mix(self, rows: list[int], n_sources: int, weight: Tensor) -> Tensor:
        """What readers [r] make of their inputs through `weight` [r, D, e], normed: [r, n, e].

        In a sparse circuit many readers read the same few sources: each different input is made once, as a plain
        sum, and all its readers project it in one product. Where they differ too much, one matrix product mixes all.
        """
        n_live = self.stored(slice(0, n_sources)).stop
        different, which = np.unique(self.matrix[rows, :n_live], axis=0, return_inverse=True)
        if different.sum() > n_live + len(different):
            return self.project(self.mix(rows, n_sources), weight)
        out = weight.new_zeros(len(rows), self.b * self.t, weight.shape[-1])
        for index, row in enumerate(different):
            x = self.sum_of(np.flatnonzero(row).tolist(), n_sources)
            if x is None:
                continue
            readers = torch.from_numpy(np.flatnonzero(which.reshape(-1) == index)).to(weight.device)
            together = weight[readers].transpose(0, 1).reshape(weight.shape[1], -1)
            projected = (x @ together).mul_(root_mean_square_reciprocal(x, self.config.norm_eps)[..., None])
            out[readers] = projected.view(len(x), len(readers), -1).transpose(0, 1)
        return out

    def sum_of(self, places: list[int], n_sources: int) -> Tensor | None:
        """The sum [n, D] of these stored sources, None for nothing at all. Not to be written to."""
        if self.replacement is not None:
            shape = (self.b * self.t, self.config.d_model)
            total = self.replacement.prefix_sum(n_sources, self.b, self.t).expand(1, *shape)[0]
        elif places:
            total, places = self.sources[places[0]], places[1:]
        else:
            return None
        for done, place in enumerate(places):
            total = total + self.sources[place] if not done else total.add_(self.sources[place])
        return total

    def mix_last(self, row: int, n_sources: int) -> Tensor:
        """Input [1, b, D] of one reader at the last positions."""
        if self.replacement is not None:
            return self.mix([row], n_sources)[:, self.places]
        n_live, n_late = self.stored(slice(0, n_sources)).stop, int(np.searchsorted(self.late, n_sources))
        early = self.sources[:n_live].index_select(1, self.places)
        inputs = torch.einsum("s,sbd->bd", self.mask[row, :n_live], early)
        return (inputs + torch.einsum("s,sbd->bd", self.late_mask[row, :n_late], self.late_sources[:n_late]))[None]

    def less_replacement(self, columns: slice, live: NDArray[np.int64]) -> None:
        """Take the replacement off what has just been stored: a mask then scales the difference."""
        if self.replacement is not None:
            self.sources[self.stored(columns)] -= self.replacement.of(columns, self.b, self.t)[live]

    def project(self, inputs: Tensor, weight: Tensor) -> Tensor:
        return torch.bmm(inputs, weight).mul_(root_mean_square_reciprocal(inputs, self.config.norm_eps)[..., None])

    def logits(self) -> Tensor:
        graph, heads = self.graph, self.config.n_heads
        only = np.array([0])
        if len(self.live) and self.live[0] == 0:
            self.sources[0].copy_(self.folded.embed(self.tokens).view(self.b * self.t, -1))
            self.less_replacement(slice(0, 1), only)
        rotation = Rotation.of(self.config, self.t, self.tokens.device)
        for index, layer in enumerate(self.folded.layers):
            columns = graph.head_columns(index)
            live = self.live[self.stored(columns)] - columns.start
            if len(live):
                start = graph.attention_rows(index).start
                places = np.concatenate([live, live + heads, live + 2 * heads])
                chosen = torch.from_numpy(places).to(self.tokens.device)
                projected = self.project_mix((start + places).tolist(), columns.start, layer.qkv[chosen])
                some = layer.of_heads(chosen)
                hidden = some.attention(projected.view(len(places), self.b, self.t, -1), rotation)
                write_out(hidden, some.o, some.o_bias, self.sources[self.stored(columns)])
                self.less_replacement(columns, live)
            column = slice(columns.stop, columns.stop + 1)
            own, row = self.stored(column), graph.mlp_row(index)
            if column.start in self.late:
                projected = self.project(self.mix_last(row, graph.n_sources_of(row)), layer.mlp_in[None])
                hidden = layer.mlp(projected, self.config.activation)
                place = int(np.searchsorted(self.late, column.start))
                write_out(hidden, layer.mlp_out[None], layer.mlp_out_bias, self.late_sources[place : place + 1])
            elif own.stop > own.start:
                projected = self.project_mix([row], graph.n_sources_of(row), layer.mlp_in[None])
                hidden = layer.mlp(projected, self.config.activation)
                write_out(hidden, layer.mlp_out[None], layer.mlp_out_bias, self.sources[own])
                self.less_replacement(column, only)
        return self.folded.unembed(self.mix_last(graph.logits_row, graph.n_sources)[0])


def _late_mlps(graph: ComputationGraph, matrix: NDArray[np.float32]) -> NDArray[np.int64]:
    """Columns of the MLPs that nothing reads but the logits and other such MLPs: attention alone moves positions."""
    own_position = {graph.logits_row}
    late: list[int] = []
    for layer in reversed(range(graph.n_layers)):
        readers = np.flatnonzero(matrix[:, graph.mlp_column(layer)])
        if len(readers) and own_position.issuperset(readers.tolist()):
            own_position.add(graph.mlp_row(layer))
            late.insert(0, graph.mlp_column(layer))
    return np.array(late, dtype=np.int64)
