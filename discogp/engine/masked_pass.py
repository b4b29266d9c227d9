"""One forward pass under an edge mask, and its backward pass.

Axes: source s (P), reader r (R), batch b, position t, tokens n = b·t, residual stream D, head dh, vocabulary V.

Every source writes into one token-major buffer X [n, P, D]; the inputs of a layer's readers are mask rows [r, s] times
X. For one token that product is small enough for a core's cache, so a batch of them runs near the peak of a matrix
kernel, which the same product as one long thin matrix [r, s] × [s, n·D] does not. The backward pass walks the layers
by hand, a few at a time: autograd sees only the small part of a block behind its projections. Nothing is kept per pair
of nodes, so memory grows as P, not P². All large products write to contiguous memory: into a slice, PyTorch would
loop over the tokens.

Norms of the folded weights are bare divisions by a root mean square, done after the projection (see `compute`).
Where only one position of each prompt is read, the last layer's queries, its MLP and the logits are *narrow*:
computed at that position alone, in buffers of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from discogp.circuits.graph import ComputationGraph
from discogp.engine.folded import FoldedLayer, FoldedWeights, root_mean_square_reciprocal, write_out
from discogp.engine.kernels import linear
from discogp.engine.replacement import Replacement
from discogp.engine.workspace import Workspace

# Layers whose readers' gradients meet the sources in one product on the way back.
_LAYERS_AT_ONCE = 2
# What of a CPU core's cache a product may fill that is read again at once.
_CACHE_BYTES = 800_000


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
    """[r, n, D], any strides over r and n."""
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

    def backward(self, out: Tensor, scratch: Tensor) -> None:
        """out [n, r, D] ← dL/d inputs: for p = s·(x W), that is s·(g Wᵀ) − x·s²·⟨g, p⟩/D.

        As many heads at once as `scratch` [h, n, D] holds: few enough to stay in a core's cache.
        """
        gradient = self.projected.grad
        assert gradient is not None
        pull = (gradient * self.projected.detach()).sum(-1).mul_(self.scale.square()).mul_(-1 / self.inputs.shape[-1])
        gradient.mul_(self.scale[..., None])
        for start in range(0, len(gradient), len(scratch)):
            some = slice(start, min(start + len(scratch), len(gradient)))
            back = scratch[: some.stop - start]
            torch.bmm(gradient[some], self.weight[some].transpose(1, 2), out=back)
            torch.addcmul(back, self.inputs[some], pull[some, :, None], out=out[:, some].transpose(0, 1))


@dataclass
class _MlpReader:
    """The reader of an MLP: its output is wider than the residual stream, so it is the input that is normed."""

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
        return cls(normed, layer.mlp_in, scale, projected.requires_grad_(taping))

    def backward(self, out: Tensor) -> None:
        """out [n, D] ← dL/d inputs: for p = x̂ W, x̂ = s·x, that is s·(γ − x̂·⟨γ, x̂⟩/D) with γ = g Wᵀ."""
        gradient = self.projected.grad
        assert gradient is not None
        back = linear(gradient[0], self.weight)
        pull = (back * self.normed).mean(-1, keepdim=True)
        torch.mul(back.addcmul_(self.normed, pull, value=-1), self.scale[:, None], out=out)


@dataclass
class _Layer:
    """What the backward pass needs of one block.

    `z` [H, n, dh] and `hidden` [1, n, M]: where on autograd's tape the output projections read. Their values are not
    needed again, so only the places are kept.
    """

    heads: Sequence[_HeadReaders]
    z: GradientEdge
    mlp: _MlpReader
    hidden: GradientEdge


class MaskedPass:
    """Buffers, tape and walk of one pass. `tape`: whether a backward pass will follow.

    `recompute`: readers' inputs are mixed again on the way back instead of being kept, for a tenth more time and, since
    there are three readers to a source, far less memory. `wanted`: the entries of the mask whose gradient is asked for,
    by default those of all edges.
    """

    def __init__(
        self,
        graph: ComputationGraph,
        valid: Float[Tensor, "R P"],
        folded: FoldedWeights,
        tokens: Int[Tensor, "b t"],
        last: Int[Tensor, "b"] | None,
        replacement: Replacement | None,
        candidates: Int[Tensor, "b C"] | None,
        workspace: Workspace,
        tape: bool,
        recompute: bool = False,
        wanted: Bool[Tensor, "R P"] | None = None,
    ) -> None:
        self.graph, self.valid, self.config, self.folded = graph, valid, folded.config, folded
        self.wanted = valid if wanted is None else valid * wanted
        self.tokens, self.last, self.replacement, self.candidates = tokens, last, replacement, candidates
        self.b, self.t = tokens.shape
        self.n, self.d = self.b * self.t, folded.config.d_model
        self.taping, self.keeping, self.workspace = tape, tape and not recompute, workspace
        self.layers: list[_Layer] = []
        workspace.passes += 1
        self.ticket = workspace.passes
        like = folded.source.embed
        self.sources = workspace.get("sources", (self.n, graph.n_sources, self.d), like)
        self.n_wide = graph.n_layers
        if last is not None:
            self.n_wide -= 1
            self.places = torch.arange(self.b, device=tokens.device) * self.t + last
            self.narrow_sources = workspace.get("narrow sources", (self.b, graph.n_sources, self.d), like)
            self.narrow_inputs = workspace.get("narrow inputs", (self.b, graph.n_heads + 2, self.d), like)
            q = graph.attention_rows(self.n_wide).start
            rows = [*range(q, q + graph.n_heads), graph.mlp_row(self.n_wide), graph.logits_row]
            self.narrow_rows = torch.tensor(rows, device=tokens.device)

    def inputs(self, layer: int) -> Float[Tensor, "n r D"]:
        """Buffer [n, r, D] for the inputs of a layer's wide readers: one for all layers, or each its own to keep."""
        rows = self.wide_rows(layer)
        shape = (self.n, rows.stop - rows.start, self.d)
        if not self.keeping:
            return self.workspace.get("inputs", shape, self.sources)
        first = layer * self.graph.readers_per_layer * self.n
        table = self.workspace.get("readers", (self.n * self.n_wide_readers, self.d), self.sources)
        return table[first : first + self.n * shape[1]].view(shape)

    @property
    def n_wide_readers(self) -> int:
        narrow = 0 if self.last is None else 2 * self.graph.n_heads
        return self.n_wide * self.graph.readers_per_layer + narrow

    # ---------------------------------------------------------------- forward

    def forward(self, mask: Float[Tensor, "R P"]) -> Tensor:
        graph = self.graph
        # Products take one dtype; the mask's own precision matters to the optimizer only. What the graph does not
        # have is off, so that a product may cover more sources than a reader has.
        self.mask = mask.to(self.sources.dtype) * self.valid
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

    def write(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, columns: slice) -> None:
        """Fill a sources' buffer with what `hidden` [c, n, e] becomes through output projections [c, e, D]."""
        write_out(hidden.detach(), weight, bias, target[:, columns].transpose(0, 1))
        self.less_replacement(target, columns)

    def read(self, index: int) -> Tensor:
        """[n, r, D] inputs of a layer's heads; behind them the MLP's, as far as it reads the same sources."""
        inputs = self.inputs(index)
        self.mix_wide(index, inputs)
        return inputs

    def wide_rows(self, index: int) -> slice:
        """Mask rows of a layer's wide readers: all of them, of a narrow layer the keys and values."""
        rows = self.graph.attention_rows(index)
        if index < self.n_wide:
            return slice(rows.start, rows.stop + 1)
        return slice(rows.start + self.graph.n_heads, rows.stop)

    def mix_wide(self, index: int, out: Tensor) -> None:
        """out [n, r, D] ← what a layer's wide readers read of the sources before the layer."""
        before = self.graph.head_columns(index).start
        mix(self.mask[self.wide_rows(index), :before], self.sources, out)
        self.add_replacement(out[:, : 3 * self.graph.n_heads], before)

    def layer(self, index: int) -> None:
        """One wide block."""
        graph, layer, eps = self.graph, self.folded.layers[index], self.config.norm_eps
        columns, row, n_heads = graph.head_columns(index), graph.mlp_row(index), 3 * graph.n_heads
        inputs = self.read(index)
        heads = _HeadReaders.of(inputs[:, :n_heads].transpose(0, 1), layer.qkv, eps, self.taping)
        with torch.set_grad_enabled(self.taping):
            z = layer.attention(heads.projected.view(n_heads, self.b, self.t, -1))
        self.write(z, layer.o, layer.o_bias, self.sources, columns)
        into_mlp = inputs[:, n_heads]
        into_mlp += torch.matmul(self.mask[row, columns], self.sources[:, columns])
        self.add_replacement(inputs[:, n_heads:], graph.n_sources_of(row))
        self.mlp([heads], z, into_mlp, layer, columns.stop, self.sources)

    def mlp(
        self, heads: list[_HeadReaders], z: Tensor, inputs: Tensor, layer: FoldedLayer, column: int, target: Tensor
    ) -> None:
        """The second half of a block, `inputs` [n or b, D]; remembers the whole block for the backward pass."""
        reader = _MlpReader.of(inputs, layer, self.config.norm_eps, self.taping)
        with torch.set_grad_enabled(self.taping):
            hidden = layer.mlp_hidden(reader.projected, self.config.activation)
        self.write(hidden, layer.mlp_out[None], layer.mlp_out_bias, target, slice(column, column + 1))
        if self.taping:
            self.layers.append(_Layer(heads, get_gradient_edge(z), reader, get_gradient_edge(hidden)))

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
        # Also the columns that are written next: all of a token's sources are one stretch of memory.
        torch.index_select(self.sources, 0, self.places, out=self.narrow_sources)
        self.mix_wide(self.n_wide, inputs)
        into_queries = self.mix_narrow(slice(0, heads), before).transpose(0, 1)
        queries = _HeadReaders.of(into_queries, layer.qkv[:heads], eps, self.taping)
        keys_values = _HeadReaders.of(inputs.transpose(0, 1), layer.qkv[heads:], eps, self.taping)
        with torch.set_grad_enabled(self.taping):
            wide = keys_values.projected.view(2 * heads, self.b, self.t, -1)
            z = layer.attention_at(queries.projected, wide, self.last, heads)
        self.write(z, layer.o, layer.o_bias, self.narrow_sources, columns)
        into_mlp = self.mix_narrow(slice(heads, heads + 1), graph.n_sources_of(graph.mlp_row(self.n_wide)))
        self.mlp([queries, keys_values], z, into_mlp[:, 0], layer, columns.stop, self.narrow_sources)
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
        self.d_mask = torch.zeros_like(mask)
        self.out.backward(gradient)
        assert self.final.grad is not None
        self.walk_back(self.final.grad)
        return self.d_mask.mul_(self.wanted)

    def walk_back(self, at_logits: Tensor) -> None:
        """Fill `d_mask`, from the gradient of what the logits read, [b, D] or [b, t, D]."""
        graph, self.turn = self.graph, False
        if self.last is not None:
            d_sources = self.last_layer_backward(at_logits)
        else:
            row, at_logits = graph.logits_row, at_logits.view(self.n, 1, -1)
            d_sources = self.buffer(f"source gradients {self.turn}", graph.n_sources)
            torch.mul(at_logits, self.mask[row][:, None], out=d_sources)
            self.d_mask[row:] = mask_gradient(at_logits, self.sources)
        for stop in range(self.n_wide, 0, -_LAYERS_AT_ONCE):
            d_sources = self.layers_backward(range(max(0, stop - _LAYERS_AT_ONCE), stop), d_sources)

    def buffer(self, name: str, columns: int) -> Tensor:
        return self.workspace.get(name, (self.n, columns, self.d), self.sources)

    def scratch(self, heads: int, n: int) -> Tensor:
        """[h, n, D] room for the gradients of at most so many heads' inputs."""
        if self.sources.device.type == "cpu":
            heads = min(heads, max(1, _CACHE_BYTES // (n * self.d * self.sources.element_size())))
        return self.workspace.get("scratch", (heads, n, self.d), self.sources)

    def layers_backward(self, layers: range, d_sources: Tensor) -> Tensor:
        """A few wide blocks, from `d_sources` [n, ≥ s, D]: what their later readers say to their and earlier sources.

        Returns [n, s, D] for the sources before the last of these blocks, with what these blocks' readers say added.
        """
        graph, n_heads = self.graph, 3 * self.graph.n_heads
        rows = slice(graph.attention_rows(layers[0]).start, graph.mlp_row(layers[-1]) + 1)
        before = graph.head_columns(layers[-1]).start
        gradients = self.buffer("input gradients", rows.stop - rows.start)
        scratch = self.scratch(n_heads, self.n)
        for index in reversed(layers):
            columns, row = graph.head_columns(index), graph.mlp_row(index)
            mine = gradients[:, row - n_heads - rows.start : row + 1 - rows.start]
            self.block_backward(index, d_sources[:, columns.start : columns.stop + 1], mine, scratch)
            if index == layers[-1]:
                self.d_mask[row, columns] = mask_gradient(mine[:, n_heads:], self.sources[:, columns])[0]
                # Two buffers take turns, so that each is contiguous at its own width.
                self.turn = not self.turn
                d_sources = self.buffer(f"source gradients {self.turn}", before).copy_(d_sources[:, :before])
            if index > 0:  # what the first layer reads is not on the way to any mask
                mix(self.mask[row - n_heads : row + 1, :before].T, mine, d_sources, add=True)
        # Of the last block's MLP its own heads, done above, stay as they are.
        self.d_mask[rows, :before] = mask_gradient(gradients, self.sources[:, :before])
        return d_sources

    def block_backward(self, index: int, at_nodes: Tensor, out: Tensor, scratch: Tensor) -> None:
        """A wide block: from `at_nodes` [n, H + 1, D], what later layers say to its heads and MLP, to its readers'
        gradients [n, 3H + 1, D]. Adds to `at_nodes` what the MLP says to the heads."""
        block, layer, n_heads = self.layers.pop(), self.folded.layers[index], 3 * self.graph.n_heads
        torch.autograd.backward(block.hidden, linear(at_nodes[:, -1].contiguous(), layer.mlp_out)[None])
        block.mlp.backward(out[:, n_heads])
        weights = self.mask[self.graph.mlp_row(index), self.graph.head_columns(index), None]
        at_heads = at_nodes[:, :-1].addcmul_(weights, out[:, n_heads:])
        torch.autograd.backward(block.z, torch.bmm(at_heads.transpose(0, 1), layer.o.transpose(1, 2)))
        if not self.keeping:
            self.read(index)
        block.heads[0].backward(out[:, :n_heads], scratch)

    def last_layer_backward(self, at_logits: Tensor) -> Tensor:
        """The narrow last layer; returns what it and the logits say to the sources before it, [n, s, D]."""
        before, rows = self.graph.head_columns(self.n_wide).start, self.wide_rows(self.n_wide)
        gradients = self.buffer("input gradients", rows.stop - rows.start)
        flat = self.narrow_backward(at_logits, gradients)
        d_sources = self.buffer(f"source gradients {self.turn}", before)
        mix(self.mask[rows, :before].T, gradients, d_sources)
        self.d_mask[rows, :before] = mask_gradient(gradients, self.sources[:, :before])
        at_last = torch.bmm(self.narrow_mask[:, :before].T.expand(self.b, -1, -1), flat)
        return d_sources.index_add_(0, self.places, at_last)

    def narrow_backward(self, at_logits: Tensor, out: Tensor) -> Tensor:
        """The narrow last layer's readers: of its keys and values the gradients go to `out` [n, 2H, D], of the queries,
        the MLP and the logits they are returned, [b, H + 2, D]. Fills the latters' rows of `d_mask`."""
        graph, heads, block, layer = self.graph, self.config.n_heads, self.layers.pop(), self.folded.layers[-1]
        columns, mask = graph.head_columns(self.n_wide), self.narrow_mask
        flat = self.workspace.get("narrow gradients", tuple(self.narrow_inputs.shape), self.sources)
        flat[:, heads + 1] = at_logits
        # Later readers of the MLP: the logits; of the heads: the MLP as well, unless it runs in parallel.
        torch.autograd.backward(block.hidden, linear(mask[heads + 1, columns.stop] * at_logits, layer.mlp_out)[None])
        block.mlp.backward(flat[:, heads])
        at_heads = torch.einsum("rh,brd->hbd", mask[heads:, columns], flat[:, heads:])
        torch.autograd.backward(block.z, torch.bmm(at_heads, layer.o.transpose(1, 2)))
        queries, keys_values = block.heads
        queries.backward(flat[:, :heads], self.scratch(heads, self.b))
        self.d_mask[self.narrow_rows] = mask_gradient(flat, self.narrow_sources)
        keys_values.backward(out, self.scratch(2 * heads, self.n))
        return flat


def mix(
    mask: Float[Tensor, "r s"], sources: Float[Tensor, "n P D"], out: Float[Tensor, "n r D"], add: bool = False
) -> None:
    """out [n, r, D] ← or += mask [r, s] times the first s of sources [n, ≥ s, D], token by token."""
    each = mask.expand(len(sources), -1, -1)
    sources = sources[:, : mask.shape[1]]
    if add:
        out.baddbmm_(each, sources)
    else:
        torch.bmm(each, sources, out=out)


def mask_gradient(gradients: Float[Tensor, "n r D"], sources: Float[Tensor, "n s D"]) -> Float[Tensor, "r s"]:
    """[r, s] Σ over tokens and D of readers' gradients [n, r, D] times sources [n, s, D], fp32."""
    return torch.bmm(gradients, sources.transpose(1, 2)).sum(0, dtype=torch.promote_types(sources.dtype, torch.float32))
