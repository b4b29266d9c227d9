"""One forward pass under an edge mask, and its backward pass.

Axes: source s (P), reader r (R), batch b, position t, tokens n = b·t, residual stream D, head dh, vocabulary V.

Every source writes into one token-major buffer X [n, P, D]; the inputs of a layer's readers are mask rows [r, s] times
X. For one token that product is small enough for a core's cache, so a batch of them runs near the peak of a matrix
kernel, which the same product as one long thin matrix [r, s] × [s, n·D] does not. The backward pass walks the layers
by hand: autograd sees the small part of a block behind its projections, and the gradients of readers' inputs overwrite
the inputs. Nothing is kept per pair of nodes, so memory grows as P, not P².

Norms of the folded weights are bare divisions by a root mean square, done after the projection (see `compute`).
Where only one position of each prompt is read, the last layer's queries, its MLP and the logits are *narrow*:
computed at that position alone, in buffers of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from discogp.compute import FoldedLayer, FoldedWeights, Rotation, linear, root_mean_square_reciprocal, write_out
from discogp.graph import ComputationGraph


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
class _HeadReaders:
    """Readers of attention heads: their inputs and the projection behind, normed after it, on dh numbers.

    projected = (inputs @ weight) · scale.
    """

    inputs: Tensor
    """[r, n, D], a view with any strides over r and n; the backward pass leaves the inputs' gradient in their place."""
    weight: Tensor
    """[r, D, dh]"""
    scale: Tensor
    """[r, n], one over the root mean square of the inputs."""
    projected: Tensor
    """[r, n, dh], a leaf: autograd knows only what comes after."""

    @classmethod
    def of(cls, inputs: Tensor, weight: Tensor, eps: float, taping: bool) -> _HeadReaders:
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


@dataclass
class _MlpReader:
    """The reader of an MLP: it is wider than the residual stream, so its input is normed before the projection."""

    inputs: Tensor
    """[n, D], any stride over n; the backward pass leaves its gradient here."""
    normed: Tensor
    """[n, D]"""
    weight: Tensor
    """[D, M or 2M]"""
    scale: Tensor
    """[n]"""
    projected: Tensor
    """[1, n, M or 2M] with the bias, a leaf."""

    @classmethod
    def of(cls, inputs: Tensor, layer: FoldedLayer, eps: float, taping: bool) -> _MlpReader:
        scale = root_mean_square_reciprocal(inputs, eps)
        normed = inputs * scale[:, None]
        projected = linear(normed, layer.mlp_in.T, layer.mlp_in_bias)[None]
        return cls(inputs, normed, layer.mlp_in, scale, projected.requires_grad_(taping))

    def backward(self) -> None:
        """inputs ← dL/d inputs: for p = x̂ W, x̂ = s·x, that is s·(γ − x̂·⟨γ, x̂⟩/D) with γ = g Wᵀ."""
        gradient = self.projected.grad
        assert gradient is not None
        back = linear(gradient[0], self.weight)
        pull = (back * self.normed).mean(-1, keepdim=True)
        torch.mul(back.addcmul_(self.normed, pull, value=-1), self.scale[:, None], out=self.inputs)


@dataclass
class _Block:
    """One attention or MLP on the tape: `hidden` [c, n, e], which the output projections `out` [c, e, D] read."""

    readers: Sequence[_HeadReaders | _MlpReader]
    hidden: Tensor
    out: Tensor

    def backward(self, gradient: Tensor) -> None:
        """From dL/d written [c, n, D] to the gradients of its readers' inputs."""
        if len(self.out) == 1:
            self.hidden.backward(linear(gradient[0].contiguous(), self.out[0])[None])
        else:
            self.hidden.backward(torch.bmm(gradient, self.out.transpose(1, 2)))
        for reader in self.readers:
            reader.backward()


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
        like = folded.source.embed
        self.sources = workspace.get("sources", (self.n, graph.n_sources, self.d), like)
        self.rotation = Rotation.of(folded.config, self.t, tokens.device)
        self.n_wide = graph.n_layers
        if last is not None:
            self.n_wide -= 1
            self.places = torch.arange(self.b, device=tokens.device) * self.t + last
            self.narrow_sources = workspace.get("narrow sources", (self.b, graph.n_sources, self.d), like)
            self.narrow_inputs = workspace.get("narrow inputs", (self.b, graph.n_heads + 2, self.d), like)
            q = graph.attention_rows(self.n_wide).start
            rows = [*range(q, q + graph.n_heads), graph.mlp_row(self.n_wide), graph.logits_row]
            self.narrow_rows = torch.tensor(rows, device=tokens.device)

    def inputs(self, layer: int) -> Tensor:
        """Buffer [n, r, D] for the inputs of a layer's wide readers, kept until the backward pass if there is one."""
        wide = self.graph.readers_per_layer if layer < self.n_wide else 2 * self.graph.n_heads
        name = f"inputs {layer}" if self.taping else "inputs"
        return self.workspace.get(name, (self.n, wide, self.d), self.sources)

    # ---------------------------------------------------------------- forward

    def forward(self, mask: Tensor) -> Tensor:
        graph = self.graph
        # Products take one dtype; the mask's own precision matters to the optimizer only.
        self.mask = mask.to(self.sources.dtype)
        self.sources[:, 0] = self.folded.embed(self.tokens).view(self.n, -1)
        self.less_replacement(self.sources, slice(0, 1))
        for index in range(self.n_wide):
            self.layer(index)
        if self.last is not None:
            return self.last_layer()
        inputs = self.workspace.get("final", (self.n, 1, self.d), self.sources)
        mix(self.mask[graph.logits_row :], self.sources, inputs)
        self.add_replacement(inputs, graph.n_sources)
        return self.logits(inputs.view(self.b, self.t, -1))

    def less_replacement(self, target: Tensor, columns: slice) -> None:
        """Take the replacement off what has just been stored: a mask then scales the difference."""
        if self.replacement is not None:
            other = self.replacement.of(columns, self.b, self.t).transpose(0, 1)
            target[:, columns] -= other if target is self.sources else other[self.places]

    def add_replacement(self, inputs: Tensor, n_sources: int) -> None:
        """Put the replacements of the first sources back into readers' inputs [n or b, r, D]."""
        if self.replacement is not None:
            total = self.replacement.prefix_sum(n_sources, self.b, self.t)[0]
            inputs += (total if len(inputs) == self.n else total[self.places])[:, None]

    def layer(self, index: int) -> None:
        """One wide block."""
        graph, layer, eps = self.graph, self.folded.layers[index], self.config.norm_eps
        columns, row, heads = graph.head_columns(index), graph.mlp_row(index), 3 * graph.n_heads
        inputs = self.inputs(index)
        # The MLP's row comes along as far as it reads the same sources as the heads.
        mix(self.mask[graph.attention_rows(index).start : row + 1, : columns.start], self.sources, inputs)
        self.add_replacement(inputs[:, :heads], columns.start)
        readers = _HeadReaders.of(inputs[:, :heads].transpose(0, 1), layer.qkv, eps, self.taping)
        with torch.set_grad_enabled(self.taping):
            hidden = layer.attention(readers.projected.view(heads, self.b, self.t, -1), self.rotation)
        self.finish(self.sources, _Block([readers], hidden, layer.o), columns, layer.o_bias)
        if not graph.parallel:
            mix(self.mask[row : row + 1, columns], self.sources[:, columns], inputs[:, heads:], add=True)
        self.add_replacement(inputs[:, heads:], graph.n_sources_of(row))
        self.mlp(inputs[:, heads], layer, columns.stop, self.sources)

    def mlp(self, inputs: Tensor, layer: FoldedLayer, column: int, target: Tensor) -> None:
        reader = _MlpReader.of(inputs, layer, self.config.norm_eps, self.taping)
        with torch.set_grad_enabled(self.taping):
            hidden = layer.mlp_hidden(reader.projected, self.config.activation)
        block = _Block([reader], hidden, layer.mlp_out[None])
        self.finish(target, block, slice(column, column + 1), layer.mlp_out_bias)

    def finish(self, target: Tensor, block: _Block, columns: slice, bias: Tensor | None) -> None:
        """Write a block's outputs into a sources' buffer, and remember the block for the backward pass."""
        write_out(block.hidden.detach(), block.out, bias, target[:, columns].transpose(0, 1))
        self.less_replacement(target, columns)
        if self.taping:
            self.blocks.append(block)

    def logits(self, inputs: Tensor) -> Tensor:
        self.final = inputs.clone().requires_grad_() if self.taping else inputs
        with torch.set_grad_enabled(self.taping):
            self.out = self.folded.unembed(self.final, self.candidates)
        return self.out.detach()

    # ------------------------------------------------- the narrow last layer

    def last_layer(self) -> Tensor:
        """The last layer and the logits where only one position of each prompt is read."""
        graph, heads, eps = self.graph, self.config.n_heads, self.config.norm_eps
        layer, columns = self.folded.layers[-1], graph.head_columns(self.n_wide)
        assert self.last is not None
        before, inputs = columns.start, self.inputs(self.n_wide)
        self.narrow_mask = self.mask[self.narrow_rows]
        self.narrow_sources[:, :before] = self.sources[self.places, :before]
        rows = graph.attention_rows(self.n_wide)
        mix(self.mask[rows.start + heads : rows.stop, :before], self.sources, inputs)
        self.add_replacement(inputs, before)
        queries = _HeadReaders.of(
            self.mix_narrow(slice(0, heads), before).transpose(0, 1), layer.qkv[:heads], eps, self.taping
        )
        keys_values = _HeadReaders.of(inputs.transpose(0, 1), layer.qkv[heads:], eps, self.taping)
        with torch.set_grad_enabled(self.taping):
            wide = keys_values.projected.view(2 * heads, self.b, self.t, -1)
            hidden = layer.attention_at(queries.projected, wide, self.last, self.rotation, heads)
        self.finish(self.narrow_sources, _Block([queries, keys_values], hidden, layer.o), columns, layer.o_bias)
        n_sources = graph.n_sources_of(graph.mlp_row(self.n_wide))
        into_mlp = self.mix_narrow(slice(heads, heads + 1), n_sources)[:, 0]
        self.mlp(into_mlp, layer, columns.stop, self.narrow_sources)
        return self.logits(self.mix_narrow(slice(heads + 1, heads + 2), graph.n_sources)[:, 0])

    def mix_narrow(self, rows: slice, n_sources: int) -> Tensor:
        """Inputs [b, r, D] of narrow readers; `rows` counts in the narrow buffers: H queries, the MLP, the logits."""
        inputs = self.narrow_inputs[:, rows]
        mix(self.narrow_mask[rows, :n_sources], self.narrow_sources, inputs)
        self.add_replacement(inputs, n_sources)
        return inputs

    # --------------------------------------------------------------- backward

    def backward(self, mask: Tensor, gradient: Tensor) -> Tensor:
        """dL/d mask [R, P] from dL/d logits."""
        if self.workspace.passes != self.ticket:
            raise RuntimeError("another masked pass has used this workspace; call backward() before the next pass")
        graph, heads = self.graph, 3 * self.graph.n_heads
        self.d_mask = torch.zeros_like(mask)
        self.d_sources = self.workspace.get("source gradients", tuple(self.sources.shape), self.sources)
        self.out.backward(gradient)
        assert self.final.grad is not None
        if self.last is not None:
            self.last_layer_backward(self.final.grad)
        else:
            # The first to send: it overwrites what an earlier pass left in the buffer.
            row, at_logits = graph.logits_row, self.final.grad.view(self.n, 1, -1)
            torch.mul(at_logits, self.mask[row][:, None], out=self.d_sources)
            self.d_mask[row:] = mask_gradient(at_logits, self.sources)
        for index in reversed(range(self.n_wide)):
            columns, row, inputs = graph.head_columns(index), graph.mlp_row(index), self.inputs(index)
            mlp, attention = self.blocks.pop(), self.blocks.pop()
            mlp.backward(self.d_sources[:, columns.stop, :][None])
            if not graph.parallel:
                own = self.d_sources[:, columns]
                own.addcmul_(self.mask[row, columns, None], inputs[:, heads:])
                self.d_mask[row, columns] = mask_gradient(inputs[:, heads:], self.sources[:, columns])[0]
            attention.backward(self.d_sources[:, columns].transpose(0, 1))
            self.send(slice(row - heads, row + 1), inputs, columns.start)
        return self.d_mask

    def send(self, rows: slice, gradients: Tensor, n_sources: int, first: bool = False) -> None:
        """What readers' gradients [n, r, D] say to the first sources, and to the mask between them."""
        mix(self.mask[rows, :n_sources].T, gradients, self.d_sources[:, :n_sources], add=not first)
        self.d_mask[rows, :n_sources] = mask_gradient(gradients, self.sources[:, :n_sources])

    def last_layer_backward(self, at_logits: Tensor) -> None:
        graph, heads = self.graph, self.config.n_heads
        columns, flat = graph.head_columns(self.n_wide), self.narrow_inputs
        before, own_mlp = columns.start, slice(columns.stop, columns.stop + 1)
        flat[:, heads + 1] = at_logits
        mlp, attention = self.blocks.pop(), self.blocks.pop()
        # Later readers of the MLP: the logits; of the heads: the MLP as well, unless it runs in parallel.
        for block, written, first in ((mlp, own_mlp, heads + 1), (attention, columns, heads + int(graph.parallel))):
            gradient = torch.einsum("rs,brd->sbd", self.narrow_mask[first:, written], flat[:, first:])
            block.backward(gradient)
        d_narrow = torch.zeros_like(self.narrow_mask, dtype=self.d_mask.dtype)
        n_mlp = graph.n_sources_of(graph.mlp_row(self.n_wide))
        for rows, n_sources in (
            (slice(0, heads), before),
            (slice(heads, heads + 1), n_mlp),
            (slice(heads + 1, heads + 2), graph.n_sources),
        ):
            d_narrow[rows, :n_sources] = mask_gradient(flat[:, rows], self.narrow_sources[:, :n_sources])
        self.d_mask[self.narrow_rows] = d_narrow
        # From here on all is wide: keys and values are the first to send, then the narrow readers.
        rows = graph.attention_rows(self.n_wide)
        self.send(slice(rows.start + heads, rows.stop), self.inputs(self.n_wide), before, first=True)
        at_last = torch.bmm(self.narrow_mask[:, :before].T.expand(self.b, -1, -1), flat)
        self.d_sources[:, :before].index_add_(0, self.places, at_last)


def mix(mask: Tensor, sources: Tensor, out: Tensor, add: bool = False) -> None:
    """out [n, r, D] ← or += mask [r, s] times the first s of sources [n, ≥ s, D], token by token."""
    each = mask.expand(len(sources), -1, -1)
    sources = sources[:, : mask.shape[1]]
    if add:
        out.baddbmm_(each, sources)
    else:
        torch.bmm(each, sources, out=out)


def mask_gradient(gradients: Tensor, sources: Tensor) -> Tensor:
    """[r, s] Σ over tokens and D of readers' gradients [n, r, D] times sources [n, s, D], fp32."""
    return torch.bmm(gradients, sources.transpose(1, 2)).sum(0, dtype=torch.promote_types(sources.dtype, torch.float32))
