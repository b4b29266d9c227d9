"""One forward pass under an edge mask, and its backward pass.

Axes: source s (P), reader r (R), batch b, position t, tokens n = b·t, residual stream D, head dh, vocabulary V.

Every source writes into one node-major buffer X [P, n, D]; the inputs of readers are mask rows [r, s] times X. Taken
layer by layer these products are too thin for a matrix kernel, so layers go in groups, as in a blocked triangular
solve: what a group's readers take from earlier groups is one product, and only what they take from inside the group
is added reader by reader. The backward pass walks the groups by hand in the same way: autograd sees the small part of
a block behind its projections, and the gradients of readers' inputs overwrite the inputs. Nothing is kept per pair of
nodes, so memory grows as P, not P².

Norms of the folded weights are bare divisions by a root mean square, done after the projection (see `compute`).
Where only one position of each prompt is read, the last layer's queries, its MLP and the logits are *narrow*:
computed at that position alone, in buffers of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from discogp.compute import FoldedWeights, Rotation, root_mean_square_reciprocal, write_out
from discogp.graph import ComputationGraph

# Rows of a group's product: enough to keep a matrix kernel busy, few enough that most edges lie outside the group.
_ROWS_PER_GROUP = 128


@dataclass(frozen=True)
class Replacement:
    """x̃: what a source's output is replaced by where its edge is off. `sources` [P, b or 1, t or 1, D], centred."""

    sources: Tensor
    _sums: dict[int, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def of(self, columns: slice, b: int, t: int) -> Tensor:
        """[c, n, D] replacements of some sources."""
        chosen = self.sources[columns]
        return chosen.expand(-1, b, t, -1).reshape(chosen.shape[0], b * t, -1)

    def prefix_sum(self, n_sources: int, b: int, t: int) -> Tensor:
        """[1, n, D] Σ of the first sources' replacements: the input of a reader whose edges are all off."""
        if n_sources not in self._sums:
            self._sums[n_sources] = self.sources[:n_sources].sum(0, keepdim=True)
        total = self._sums[n_sources]
        return total.expand(-1, b, t, -1).reshape(1, b * t, -1)


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


class DifferentiablePass(torch.autograd.Function):
    """The masked pass as one node of an autograd graph, a function of the mask alone."""

    @staticmethod
    def forward(ctx: Any, mask: Tensor, run: MaskedPass) -> Tensor:
        ctx.run = run
        ctx.save_for_backward(mask)
        return run.forward(mask)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return ctx.run.backward(mask, grads[0]), None


@dataclass
class _Segment:
    """Readers' inputs and the projection behind them: what the backward pass needs of it.

    Forward: projected = (inputs @ weight) · scale; autograd knows only what comes after.
    """

    inputs: Tensor
    """[r, n, D]; the backward pass leaves the inputs' gradient in their place."""
    weight: Tensor
    """[r, D, e]"""
    scale: Tensor
    """[r, n], one over the root mean square of the inputs."""
    projected: Tensor
    """[r, n, e], a leaf."""

    @classmethod
    def of(cls, inputs: Tensor, weight: Tensor, eps: float, taping: bool) -> _Segment:
        scale = root_mean_square_reciprocal(inputs, eps)
        projected = torch.bmm(inputs, weight).mul_(scale[..., None])
        return cls(inputs, weight, scale, projected.requires_grad_(taping))

    def backward(self) -> None:
        """inputs ← dL/d inputs: for p = s·(x W), that is s·(g Wᵀ) − x·s²·⟨g, p⟩/D."""
        gradient = self.projected.grad
        assert gradient is not None
        pull = (gradient * self.projected.detach()).sum(-1).mul_(self.scale.square()).mul_(-1 / self.inputs.shape[-1])
        self.inputs.mul_(pull[..., None])
        self.inputs.baddbmm_(gradient.mul_(self.scale[..., None]), self.weight.transpose(1, 2))


@dataclass(frozen=True)
class _Group:
    """Consecutive layers whose wide readers take what earlier groups wrote in one product.

    `rows`: their mask rows (of the last, narrow layer: keys and values only); `n_before`: sources of earlier groups.
    """

    layers: range
    rows: slice
    n_before: int


def _groups(graph: ComputationGraph, narrow: bool) -> list[_Group]:
    per_group = max(1, round(_ROWS_PER_GROUP / graph.readers_per_layer))
    n_wide = graph.n_layers - 1 if narrow else graph.n_layers
    groups = []
    for first in range(0, n_wide, per_group):
        layers = range(first, min(first + per_group, n_wide))
        stop = graph.attention_rows(layers.stop).start if layers.stop < graph.n_layers else graph.n_readers
        rows = slice(graph.attention_rows(first).start, stop)
        groups.append(_Group(layers, rows, graph.head_columns(first).start))
    if narrow:
        last = graph.n_layers - 1
        rows = graph.attention_rows(last)
        keys_values = slice(rows.start + graph.n_heads, rows.stop)
        groups.append(_Group(range(last, graph.n_layers), keys_values, graph.head_columns(last).start))
    return groups


@dataclass
class _Block:
    """One attention or MLP on the tape.

    `hidden` [c, n, e] is what its output projections `out` [c, e, D] write into the sources `columns`; `own_rows` are
    its readers of the first `n_sources` sources.
    """

    segments: list[_Segment]
    hidden: Tensor
    out: Tensor
    columns: slice
    own_rows: slice
    n_sources: int

    def backward(self, gradient: Tensor) -> None:
        """From dL/d written [c, n, D] to the gradients of its readers' inputs."""
        self.hidden.backward(torch.bmm(gradient, self.out.transpose(1, 2)))
        for segment in self.segments:
            segment.backward()


class MaskedPass:
    """Buffers, tape and walk of one pass. `tape`: whether a backward pass will follow."""

    def __init__(
        self,
        graph: ComputationGraph,
        folded: FoldedWeights,
        tokens: Tensor,
        last: Tensor | None,
        replacement: Replacement | None,
        candidates: Tensor | None,
        workspace: Workspace,
        tape: bool,
    ) -> None:
        self.graph, self.config, self.folded = graph, folded.config, folded
        self.tokens, self.last, self.replacement, self.candidates = tokens, last, replacement, candidates
        self.b, self.t = tokens.shape
        self.n, self.d = self.b * self.t, folded.config.d_model
        self.taping, self.workspace = tape, workspace
        self.blocks: list[_Block] = []
        workspace.passes += 1
        self.ticket = workspace.passes
        self.groups = _groups(graph, last is not None)
        like = folded.source.embed
        # Without a backward pass, the inputs of one group at a time will do.
        most_rows = max(group.rows.stop - group.rows.start for group in self.groups)
        n_inputs = graph.n_readers if tape else most_rows
        self.sources = workspace.get("sources", (graph.n_sources, self.n, self.d), like)
        self.inputs = workspace.get("inputs", (n_inputs, self.n, self.d), like)
        self.rotation = Rotation.of(folded.config, self.t, tokens.device)
        if last is not None:
            self.places = torch.arange(self.b, device=tokens.device) * self.t + last
            self.narrow_sources = workspace.get("narrow sources", (graph.n_sources, self.b, self.d), like)
            self.narrow_inputs = workspace.get("narrow inputs", (graph.n_heads + 2, self.b, self.d), like)
            q = graph.attention_rows(graph.n_layers - 1).start
            rows = [*range(q, q + graph.n_heads), graph.mlp_row(graph.n_layers - 1), graph.logits_row]
            self.narrow_rows = torch.tensor(rows, device=tokens.device)

    # ---------------------------------------------------------------- forward

    def forward(self, mask: Tensor) -> Tensor:
        graph = self.graph
        self.mask = mask
        self.sources[0].copy_(self.folded.embed(self.tokens).view(self.n, -1))
        self.less_replacement(self.sources, slice(0, 1))
        for group in self.groups:
            self.group = group
            torch.mm(
                mask[group.rows, : group.n_before],
                self.sources[: group.n_before].view(group.n_before, -1),
                out=self.inputs[self.place(group.rows)].view(group.rows.stop - group.rows.start, -1),
            )
            for index in group.layers:
                if self.last is not None and index == graph.n_layers - 1:
                    return self.last_layer(index)
                self.attention(index)
                self.mlp(index)
        inputs = self.mix(slice(graph.logits_row, graph.n_readers), graph.n_sources)
        return self.logits(inputs[0].view(self.b, self.t, -1))

    def place(self, rows: slice) -> slice:
        """Where mask rows lie in the inputs' buffer."""
        first = 0 if self.taping else self.group.rows.start
        return slice(rows.start - first, rows.stop - first)

    def mix(self, rows: slice, n_sources: int) -> Tensor:
        """Inputs [r, n, D] of wide readers: what the group took from earlier groups, and what its own layers wrote."""
        inputs, before = self.inputs[self.place(rows)], self.group.n_before
        if n_sources > before:
            own = self.sources[before:n_sources].view(n_sources - before, -1)
            inputs.view(inputs.shape[0], -1).addmm_(self.mask[rows, before:n_sources], own)
        if self.replacement is not None:
            inputs += self.replacement.prefix_sum(n_sources, self.b, self.t)
        return inputs

    def less_replacement(self, target: Tensor, columns: slice) -> None:
        """Take the replacement off what has just been stored: a mask then scales the difference."""
        if self.replacement is not None:
            other = self.replacement.of(columns, self.b, self.t)
            target[columns] -= other if target is self.sources else other[:, self.places]

    def finish(self, target: Tensor, block: _Block, bias: Tensor | None) -> None:
        """Write a block's outputs into the sources' buffer, and remember the block for the backward pass."""
        write_out(block.hidden.detach(), block.out, bias, target[block.columns])
        self.less_replacement(target, block.columns)
        if self.taping:
            self.blocks.append(block)

    def attention(self, index: int) -> None:
        rows, columns = self.graph.attention_rows(index), self.graph.head_columns(index)
        layer = self.folded.layers[index]
        segment = _Segment.of(self.mix(rows, columns.start), layer.qkv, self.config.norm_eps, self.taping)
        with torch.set_grad_enabled(self.taping):
            hidden = layer.attention(segment.projected.view(rows.stop - rows.start, self.b, self.t, -1), self.rotation)
        self.finish(self.sources, _Block([segment], hidden, layer.o, columns, rows, columns.start), layer.o_bias)

    def mlp(self, index: int) -> None:
        row, column = self.graph.mlp_row(index), self.graph.mlp_column(index)
        n_sources, rows, columns = self.graph.n_sources_of(row), slice(row, row + 1), slice(column, column + 1)
        layer = self.folded.layers[index]
        segment = _Segment.of(self.mix(rows, n_sources), layer.mlp_in[None], self.config.norm_eps, self.taping)
        with torch.set_grad_enabled(self.taping):
            hidden = layer.mlp(segment.projected, self.config.activation)
        block = _Block([segment], hidden, layer.mlp_out[None], columns, rows, n_sources)
        self.finish(self.sources, block, layer.mlp_out_bias)

    def logits(self, inputs: Tensor) -> Tensor:
        self.final = inputs.clone().requires_grad_() if self.taping else inputs
        with torch.set_grad_enabled(self.taping):
            self.out = self.folded.unembed(self.final, self.candidates)
        return self.out.detach()

    # ------------------------------------------------- the narrow last layer

    def last_layer(self, index: int) -> Tensor:
        """The last layer and the logits where only one position of each prompt is read."""
        graph, heads, eps = self.graph, self.config.n_heads, self.config.norm_eps
        layer, columns = self.folded.layers[index], graph.head_columns(index)
        assert self.last is not None
        before = columns.start
        self.narrow_mask = self.mask[self.narrow_rows]
        torch.index_select(self.sources[:before], 1, self.places, out=self.narrow_sources[:before])
        queries = _Segment.of(self.mix_narrow(slice(0, heads), before), layer.qkv[:heads], eps, self.taping)
        keys_values = _Segment.of(self.mix(self.group.rows, before), layer.qkv[heads:], eps, self.taping)
        with torch.set_grad_enabled(self.taping):
            wide = keys_values.projected.view(2 * heads, self.b, self.t, -1)
            hidden = layer.attention_at(queries.projected, wide, self.last, self.rotation, heads)
        block = _Block([queries, keys_values], hidden, layer.o, columns, slice(0, heads), before)
        self.finish(self.narrow_sources, block, layer.o_bias)
        n_sources, rows = graph.n_sources_of(graph.mlp_row(index)), slice(heads, heads + 1)
        segment = _Segment.of(self.mix_narrow(rows, n_sources), layer.mlp_in[None], eps, self.taping)
        with torch.set_grad_enabled(self.taping):
            hidden = layer.mlp(segment.projected, self.config.activation)
        own = slice(columns.stop, columns.stop + 1)
        block = _Block([segment], hidden, layer.mlp_out[None], own, rows, n_sources)
        self.finish(self.narrow_sources, block, layer.mlp_out_bias)
        return self.logits(self.mix_narrow(slice(heads + 1, heads + 2), graph.n_sources)[0])

    def mix_narrow(self, rows: slice, n_sources: int) -> Tensor:
        """Inputs [r, b, D] of narrow readers; `rows` counts in the narrow buffers: H queries, the MLP, the logits."""
        inputs = self.narrow_inputs[rows]
        own = self.narrow_sources[:n_sources].view(n_sources, -1)
        torch.mm(self.narrow_mask[rows, :n_sources], own, out=inputs.view(inputs.shape[0], -1))
        if self.replacement is not None:
            inputs += self.replacement.prefix_sum(n_sources, self.b, self.t)[:, self.places]
        return inputs

    # --------------------------------------------------------------- backward

    def backward(self, mask: Tensor, gradient: Tensor) -> Tensor:
        """dL/d mask [R, P] from dL/d logits."""
        if self.workspace.passes != self.ticket:
            raise RuntimeError("another masked pass has used this workspace; call backward() before the next pass")
        self.d_mask = torch.zeros_like(mask)
        like = self.sources
        self.d_sources = self.workspace.get("source gradients", tuple(like.shape), like)
        self.out.backward(gradient)
        assert self.final.grad is not None
        if self.last is not None:
            self.narrow_inputs[-1].copy_(self.final.grad)
            self.last_layer_backward()
        else:
            self.group = self.groups[-1]
            self.inputs[self.graph.logits_row].copy_(self.final.grad.view(self.n, -1))
            # Nothing has been sent yet: these buffers hold old numbers, which the first product overwrites.
            self.n_fresh = self.graph.n_sources
            self.send(slice(self.graph.logits_row, self.graph.n_readers), self.group.n_before, self.graph.n_sources)
        while self.groups:
            self.group = self.groups.pop()
            for index in reversed(self.group.layers):
                mlp, attention = self.blocks.pop(), self.blocks.pop()
                before = self.group.n_before
                mlp.backward(self.d_sources[mlp.columns])
                # Of its own layer's sources an MLP reads the heads, which come next.
                self.send(mlp.own_rows, attention.columns.start, mlp.n_sources)
                attention.backward(self.d_sources[attention.columns])
                rows = slice(attention.own_rows.start, mlp.own_rows.stop)
                self.send(rows, before, self.graph.head_columns(index).start)
            self.send(self.group.rows, 0, self.group.n_before)
        return self.d_mask

    def send(self, rows: slice, start: int, stop: int) -> None:
        """What some readers' gradients say to the sources from `start` to `stop`, and to the mask between them."""
        if stop <= start:
            return
        gradients = self.inputs[rows].view(rows.stop - rows.start, -1)
        pulled = self.d_sources[start:stop].view(stop - start, -1)
        pulled.addmm_(self.mask[rows, start:stop].T, gradients, beta=0 if stop <= self.n_fresh else 1)
        self.n_fresh = min(self.n_fresh, start)
        self.d_mask[rows, start:stop] = gradients @ self.sources[start:stop].view(stop - start, -1).T

    def last_layer_backward(self) -> None:
        group = self.groups.pop()
        heads, before = self.config.n_heads, group.n_before
        mlp, attention = self.blocks.pop(), self.blocks.pop()
        flat = self.narrow_inputs.view(heads + 2, -1)
        d_narrow = torch.zeros_like(self.narrow_mask)
        # Later readers of the MLP: the logits; of the heads: the MLP as well, unless it runs in parallel.
        for block, first in ((mlp, heads + 1), (attention, heads + int(self.graph.parallel))):
            gradient = self.narrow_mask[first:, block.columns].T @ flat[first:]
            block.backward(gradient.view(-1, self.b, self.d))
        for rows, n_sources in (
            (attention.own_rows, before),
            (mlp.own_rows, mlp.n_sources),
            (slice(heads + 1, heads + 2), self.graph.n_sources),
        ):
            d_narrow[rows, :n_sources] = flat[rows] @ self.narrow_sources[:n_sources].view(n_sources, -1).T
        self.d_mask[self.narrow_rows] = d_narrow
        # From here on all is wide: start the sources' gradients with what keys and values, then narrow readers, send.
        self.n_fresh = before
        self.send(group.rows, 0, before)
        at_last = self.narrow_mask[:, :before].T @ flat
        self.d_sources[:before].index_add_(1, self.places, at_last.view(before, self.b, -1))
