"""Running a sparse circuit, and running it again with a few edges changed: only what has to be computed is.

Axes as in `masked_pass`, but for n: the different beginnings of the batch's prompts, each of which is computed once
(see `prefixes`). Nodes that change nothing are skipped, others computed where they are wanted alone (see
`sparse_plan`).

A run leaves its nodes' outputs behind. A run of nearly the same circuit that is given them computes again only what
lies downstream of the change, always from the sums of its sources: nothing is added onto an earlier toggle's result,
so no error builds up. No gradients: this is for looking at circuits, not for finding them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from discogp.circuits.graph import ComputationGraph
from discogp.engine.folded import FoldedLayer, FoldedWeights, root_mean_square_reciprocal, write_out
from discogp.engine.kernels import linear
from discogp.engine.prefixes import Prefixes
from discogp.engine.replacement import Replacement
from discogp.engine.sparse_plan import Plan, Work
from discogp.engine.workspace import Workspace

# An incremental run adds sources up one by one. Beyond this many a node, a fresh run, which mixes them in matrix
# products, is the quicker one.
_SUMS_PER_NODE = 8
# What a source costs in a matrix product for one more input, in sums of two of them.
_MIXED_PER_SUM = 1 / 12

Reads = tuple[int, ...]


@torch.no_grad()
def sparse_logits(
    graph: ComputationGraph,
    folded: FoldedWeights,
    edge_mask: NDArray[np.bool_],
    tokens: Int[Tensor, "b t"],
    last: Int[Tensor, "b"],
    replacement: Replacement | None = None,
) -> Float[Tensor, "b V"]:
    """Logits [b, V] at the positions `last` [b] of the model that keeps the edges of `edge_mask` [E] and no others."""
    return folded.unembed(SparseRunner(graph, folded, tokens, last, replacement).run(edge_mask).final)


@dataclass
class State:
    """What a run of a circuit left behind, for later runs to build on.

    `everywhere`: outputs [n, D] by column, constant ones [1, D]; `ends`: outputs at the last positions [b, D], for
    late nodes all there is. Both are less the replacement, if there is one: a mask then scales the difference.
    `projected`: normed queries, keys and values [n, dh] by mask row, of late heads' queries [b, dh]. `final`: what the
    logits reader reads, [b, D].
    """

    plan: Plan
    everywhere: dict[int, Tensor] = field(default_factory=dict)
    ends: dict[int, Tensor] = field(default_factory=dict)
    projected: dict[int, Tensor] = field(default_factory=dict)
    final: Tensor = field(default_factory=lambda: torch.empty(0))
    half: bool = False
    """Whether all but `final` is in half precision: to be `opened` before a run can build on it."""

    def halved(self) -> State:
        """The same in half the memory, outputs and projections to a relative 5e-4; infinite beyond 65,504."""
        return self._stored_as(torch.float16, half=True)

    def opened(self) -> State:
        """In the numbers that runs compute with: a copy for one run, or itself where that is what it holds."""
        return self._stored_as(self.final.dtype, half=False) if self.half else self

    def _stored_as(self, kind: torch.dtype, half: bool) -> State:
        outputs = (self.everywhere, self.ends, self.projected)
        everywhere, ends, projected = ({at: x.to(kind) for at, x in some.items()} for some in outputs)
        return replace(self, everywhere=everywhere, ends=ends, projected=projected, half=half)

    @property
    def n_bytes(self) -> int:
        return sum(x.numel() * x.element_size() for x in self._tensors())

    @property
    def finite(self) -> bool:
        return all(bool(x.isfinite().all()) for x in self._tensors())

    def _tensors(self) -> list[Tensor]:
        return [*self.everywhere.values(), *self.ends.values(), *self.projected.values(), self.final]


class SparseRunner:
    """Runs circuits of one model on one batch of prompts. `replacement`: x̃ of the ablation, None for zero."""

    def __init__(
        self,
        graph: ComputationGraph,
        folded: FoldedWeights,
        tokens: Int[Tensor, "b t"],
        last: Int[Tensor, "b"],
        replacement: Replacement | None = None,
    ) -> None:
        self.graph, self.folded, self.replacement = graph, folded, replacement
        self.tokens, self.last = tokens, last
        self.uniform = replacement is None or replacement.uniform
        if self.uniform:
            self.prefixes = Prefixes.of(tokens, last)
        elif replacement is not None and replacement.tokens is not None:
            self.prefixes = Prefixes.of(tokens, last, replacement.tokens)
        else:
            self.prefixes = Prefixes.unshared(tokens, last)

    def plan(self, edge_mask: NDArray[np.bool_]) -> Plan:
        rotary = any(layer.attention.rotary for layer in self.folded.source.layers)
        return Plan.of(self.graph, edge_mask, constants=self.uniform, rotary=rotary)

    def state_bytes(self, plan: Plan) -> int:
        """What the state of a run of this plan holds."""
        config, graph, wide = self.folded.config, self.graph, plan.live - plan.constant - plan.late
        heads, late_heads = (sum(len(graph.own_rows(c)) > 1 for c in columns) for columns in (wide, plan.late))
        asked = [graph.logits_row, *(graph.own_rows(column)[0] for column in plan.late)]
        at_ends = plan.late.union(*(plan.reads[row] for row in asked)) - plan.constant
        everywhere = len(wide) * config.d_model + (3 * heads + 2 * late_heads) * config.d_head
        ends = (len(at_ends) + 1) * config.d_model + late_heads * config.d_head
        numbers = len(self.prefixes) * everywhere + len(self.last) * ends + len(plan.constant) * config.d_model
        return numbers * self.folded.source.embed.element_size()

    @torch.no_grad()
    def run(self, edge_mask: NDArray[np.bool_], base: State | None = None, workspace: Workspace | None = None) -> State:
        """The circuit of these edges [E]; `base`, the state of an earlier run, saves what the two have in common.

        With a `workspace` the outputs of a fresh run live in its buffer, until the next run in it.
        """
        plan = self.plan(edge_mask)
        work = Work.of(self.graph, plan, base and base.plan)
        if base is not None and sum(len(plan.reads[row]) for row in work.rows) > _SUMS_PER_NODE * len(plan.live):
            base, work = None, Work.of(self.graph, plan, None)
        return _Run(self, plan, work, base, workspace or Workspace()).finish()


class _At(Enum):
    """Where something is wanted: at every position of every prompt, at the last ones, or once for all."""

    EVERYWHERE = "everywhere"
    END = "end"
    ONCE = "once"


class _Run:
    """One run, node by node in the order of computation."""

    def __init__(self, on: SparseRunner, plan: Plan, work: Work, base: State | None, workspace: Workspace) -> None:
        self.on, self.plan, self.work, self.base = on, plan, work, base
        self.graph, self.config, self.replacement = on.graph, on.folded.config, on.replacement
        self.n, self.d = len(on.prefixes), self.config.d_model
        self.state = State(plan)
        like = on.folded.source.embed
        self.empty = like.new_empty
        # Where all is computed, sources lie in one buffer in their order, so that a matrix product can mix them.
        self.stored = np.array(sorted(plan.live - plan.late - plan.constant) if base is None else [], dtype=np.int64)
        self.buffer = workspace.get("sparse sources", (len(self.stored), self.n, self.d), like)
        self.total = workspace.get("sparse input", (self.n, self.d), like)
        if base is not None:
            self._take_over(base)

    def _take_over(self, base: State) -> None:
        for column in self.plan.live - self.work.columns:
            if column not in self.plan.late:
                self.state.everywhere[column] = base.everywhere[column]
            elif column not in base.ends:
                self.state.ends[column] = base.everywhere[column][self.on.prefixes.ends]
            if column in base.ends:
                self.state.ends[column] = base.ends[column]
            for row in self.graph.own_rows(column):
                if row in base.projected:
                    self.state.projected[row] = base.projected[row]

    def finish(self) -> State:
        if 0 in self.work.columns:
            out = self._place(np.array([0]))
            on = self.on
            out.copy_(on.folded.embed(on.tokens)[on.prefixes.prompts, on.prefixes.positions])
            self._written(out, np.array([0]), _At.EVERYWHERE)
        for index, layer in enumerate(self.on.folded.layers):
            columns = self.graph.head_columns(index)
            wanted = [column for column in range(columns.start, columns.stop) if column in self.work.columns]
            for at in _At:
                chosen = np.array([column for column in wanted if self._at(column) is at], dtype=np.int64)
                if len(chosen):
                    self._heads(index, layer, chosen, at)
            if columns.stop in self.work.columns:
                self._mlp(index, layer, columns.stop)
        logits = self.graph.logits_row
        if logits in self.work.rows:
            inputs = self._sum(self.plan.reads[logits], self.graph.n_sources, _At.END)
            self.state.final = self.empty(len(self.on.last), self.d).zero_()
            if inputs is not None:
                self.state.final += inputs
        else:
            assert self.base is not None
            self.state.final = self.base.final
        return self.state

    def _at(self, column: int) -> _At:
        """Where a node's output is wanted."""
        if column in self.plan.constant:
            return _At.ONCE
        return _At.END if column in self.plan.late else _At.EVERYWHERE

    def _length(self, at: _At) -> int:
        return {_At.EVERYWHERE: self.n, _At.END: len(self.on.last), _At.ONCE: 1}[at]

    def _heads(self, index: int, layer: FoldedLayer, columns: NDArray[np.int64], at: _At) -> None:
        """Some heads of one layer, all of them wanted at the same places."""
        first, h = self.graph.head_columns(index), len(columns)
        places = np.concatenate([columns - first.start + role * self.graph.n_heads for role in range(3)])
        rows = self.graph.attention_rows(index).start + places
        some = layer.of_heads(torch.from_numpy(places).to(self.on.tokens.device))
        if at is _At.ONCE:
            values = self._project(rows[2 * h :], first.start, layer.qkv, places[2 * h :], at)
            hidden = some.written(values if some.qkv_bias is None else values + some.qkv_bias[2 * h :, None])
        elif at is _At.END:
            queries = self._project(rows[:h], first.start, layer.qkv, places[:h], at)
            keys_values = self._project(rows[h:], first.start, layer.qkv, places[h:])
            hidden = some.attention_at(queries, self.on.prefixes.spread(keys_values), self.on.last, h)
        else:
            projected = self._project(rows, first.start, layer.qkv, places)
            hidden = some.attention_along(projected, self.on.prefixes)
        out = self._place(columns, at)
        for place, head in enumerate(places[:h].tolist()):  # one by one: gathering the heads' weights would cost more
            write_out(hidden[place, None], layer.o[head, None], layer.o_bias, out[place, None])
        self._written(out, columns, at)

    def _mlp(self, index: int, layer: FoldedLayer, column: int) -> None:
        row, at = self.graph.mlp_row(index), self._at(column)
        n_sources = self.graph.n_sources_of(row)
        x = self._sum(self.plan.reads[row], n_sources, at)
        if x is None:
            x = self.empty(self._length(at), self.d).zero_()
        x = x * root_mean_square_reciprocal(x, self.config.norm_eps)[:, None]
        x = x.expand(self._length(at), -1)
        out = self._place(np.array([column]), at)
        write_out(layer.mlp_of(x, self.config.activation), layer.mlp_out[None], layer.mlp_out_bias, out)
        self._written(out, np.array([column]), at)

    def _project(
        self,
        rows: NDArray[np.int64],
        n_sources: int,
        weight: Tensor,
        places: NDArray[np.int64],
        at: _At = _At.EVERYWHERE,
    ) -> Tensor:
        """What readers (mask rows) make of their normed inputs through `weight[places]` [r, D, e]: [r, n, b or 1, e].

        In a sparse circuit many readers read the same few sources: each different input is made once, as a plain
        sum, and all its readers project it in one product. Where they differ too much, one matrix product mixes all.
        """
        out = self.empty(len(rows), self._length(at), weight.shape[-1])
        groups: dict[Reads, list[int]] = {}
        for i, row in enumerate(rows.tolist()):
            known = self._known(row, at)
            if known is None:
                groups.setdefault(self.plan.reads[row], []).append(i)
            else:
                out[i] = known
        inputs = (self._sum(reads, n_sources, at) for reads in groups)
        if at is _At.EVERYWHERE and self._mixing_pays(groups, n_sources):
            inputs = self._mix(tuple(groups), n_sources)
        for x, members in zip(inputs, groups.values(), strict=True):
            self._project_one(x, weight, places[members].tolist(), out, members)
        if at is not _At.ONCE:
            self.state.projected.update(zip(rows.tolist(), out, strict=True))
        return out

    def _project_one(
        self, x: Tensor | None, weight: Tensor, places: list[int], out: Tensor, members: list[int]
    ) -> None:
        """One input, [1, D] if it is constant, for some readers, into their places `members` of `out`."""
        if x is None:
            out[members] = 0
            return
        scale = root_mean_square_reciprocal(x, self.config.norm_eps)[:, None]
        if len(members) == 1:
            out[members[0]] = linear(x, weight[places[0]].T).mul_(scale)
            return
        together = torch.cat([weight[place] for place in places], dim=1)
        projected = linear(x, together.T).mul_(scale).view(len(x), len(members), -1)
        for i, member in enumerate(members):
            out[member] = projected[:, i]

    def _known(self, row: int, at: _At) -> Tensor | None:
        """What a reader projected in the base run, if that still holds."""
        known = None if self.base is None or row in self.work.rows else self.base.projected.get(row)
        if known is None or len(known) == self._length(at):
            return known
        return known[self.on.prefixes.ends] if at is _At.END else None

    def _mixing_pays(self, inputs: Iterable[Reads], n_sources: int) -> bool:
        """Whether one matrix product over all stored sources is quicker than sums of those that are read."""
        n_stored = int(np.searchsorted(self.stored, n_sources))
        terms = [sum(column not in self.plan.constant for column in reads) for reads in inputs]
        return n_stored > 0 and sum(terms) > n_stored * (1 + len(terms) * _MIXED_PER_SUM) + len(terms)

    def _mix(self, inputs: Sequence[Reads], n_sources: int) -> Tensor:
        """The inputs [r, n, D] that read these sources, by a matrix product over all stored ones among the first."""
        n_stored = int(np.searchsorted(self.stored, n_sources))
        mask = np.zeros((len(inputs), n_stored), dtype=np.float32)
        constants: list[list[Tensor]] = []
        for i, reads in enumerate(inputs):
            mask[i, np.searchsorted(self.stored, [c for c in reads if c not in self.plan.constant])] = 1
            constants.append([self.state.everywhere[c] for c in reads if c in self.plan.constant])
        mixed = torch.from_numpy(mask).to(self.buffer) @ self.buffer[:n_stored].view(n_stored, -1)
        made = mixed.view(len(inputs), self.n, self.d)
        for x, parts in zip(made, constants, strict=True):
            if parts:
                x += torch.stack(parts).sum(0)
        if self.replacement is not None:
            made += self._flowing(n_sources, _At.EVERYWHERE)
        return made

    def _sum(self, reads: Sequence[int], n_sources: int, at: _At) -> Tensor | None:
        """The sum [n or b, D] of some sources, [1, D] if all are constant, None for nothing at all.

        To be read before the next sum is made.
        """
        parts = [self._end(column) if at is _At.END else self.state.everywhere[column] for column in reads]
        if self.replacement is not None:
            # Dead sources count here: their edges are off, so their replacement flows.
            parts.append(self._flowing(n_sources, at))
        parts.sort(key=len)  # the constants first: their sum is one row
        if len(parts) < 2:
            return parts[0] if parts else None
        total = parts[0]
        for part in parts[1:]:
            total = total + part if len(part) == 1 else torch.add(total, part, out=self.total[: len(part)])
        return total

    def _flowing(self, n_sources: int, at: _At) -> Tensor:
        """What a reader of the first `n_sources` reads where all its edges are off, [n, b or 1, D]."""
        assert self.replacement is not None
        flowing = self.replacement.prefix_sum_at(n_sources, self.on.prefixes)
        return flowing[self.on.prefixes.ends] if at is _At.END and len(flowing) > 1 else flowing

    def _end(self, column: int) -> Tensor:
        """A source [b, D] at the last positions, [1, D] if it is constant."""
        if column in self.plan.constant:
            return self.state.everywhere[column]
        if column not in self.state.ends:
            self.state.ends[column] = self.state.everywhere[column][self.on.prefixes.ends]
        return self.state.ends[column]

    def _place(self, columns: NDArray[np.int64], at: _At = _At.EVERYWHERE) -> Tensor:
        """Where the outputs [c, n, b or 1, D] of consecutive nodes go."""
        if self.base is not None or at is not _At.EVERYWHERE:
            return self.empty(len(columns), self._length(at), self.d)
        start = int(np.searchsorted(self.stored, columns[0]))
        return self.buffer[start : start + len(columns)]

    def _written(self, out: Tensor, columns: NDArray[np.int64], at: _At) -> None:
        """Note outputs [c, n, b or 1, D], less their replacement."""
        if self.replacement is not None:
            for place, column in zip(out, columns.tolist(), strict=True):
                flowing = self.replacement.at(column, self.on.prefixes)
                place -= flowing[self.on.prefixes.ends] if at is _At.END and len(flowing) > 1 else flowing
        (self.state.ends if at is _At.END else self.state.everywhere).update(zip(columns.tolist(), out, strict=True))
