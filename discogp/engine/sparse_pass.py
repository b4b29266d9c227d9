"""Running a sparse circuit, and running it again with a few edges changed: only what has to be computed is.

Axes as in `masked_pass`. A circuit that keeps a few per cent of the edges leaves most nodes without a path to the
logits; they change nothing and are skipped. *Late* nodes, from which every path to the logits stays at its own
position, are computed at the last position alone: attention moves information between positions through keys and
values only, so an MLP or a head is late if nothing reads it but the logits, late MLPs and the queries of late heads.
*Constant* nodes write one vector, whatever the prompt and the position: an MLP that reads nothing but constants, and
a head whose values do, since attention weights sum to one. They are computed once, on one row, and what their queries
and keys read need not be there at all. The same goes for what decides attention between equal keys.

A run leaves its nodes' outputs behind. A run of nearly the same circuit that is given them computes again only what
lies downstream of the change, always from the sums of its sources: nothing is added onto an earlier toggle's result,
so no error builds up. No gradients: this is for looking at circuits, not for finding them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from discogp.circuits.graph import ComputationGraph
from discogp.engine.folded import FoldedLayer, FoldedWeights, root_mean_square_reciprocal, write_out
from discogp.engine.kernels import linear
from discogp.engine.replacement import Replacement
from discogp.engine.workspace import Workspace

# An incremental run adds sources up one by one. Beyond this many a node, a fresh run, which mixes them in matrix
# products, is the quicker one.
_SUMS_PER_NODE = 8


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


@dataclass(frozen=True)
class Plan:
    """What of a circuit has to be computed. `reads`: the sources (columns) of every reader, [R]; empty for dead ones.

    `live`: nodes that change the logits; of them `constant`: those that write one vector everywhere, and `late`: those
    others that are wanted at the last position alone. All are sets of columns.
    """

    reads: tuple[tuple[int, ...], ...]
    live: frozenset[int]
    late: frozenset[int]
    constant: frozenset[int]

    @classmethod
    def of(
        cls, graph: ComputationGraph, edge_mask: NDArray[np.bool_], constants: bool = True, rotary: bool = False
    ) -> Plan:
        """`constants`: whether a reader without edges reads the same everywhere, as with zero and mean ablation.

        `rotary`: whether equal keys are told apart by their positions.
        """
        reads: list[list[int]] = [[] for _ in range(graph.n_readers)]
        for row, column in zip(graph.rows[edge_mask].tolist(), graph.columns[edge_mask].tolist(), strict=True):
            reads[row].append(column)
        constant = _drop_idle_scores(graph, reads, rotary) if constants else set()
        readers = _drop_dead(graph, reads)
        constant &= readers.keys()
        own_position, late = {graph.logits_row}, set()
        for group in reversed(
            graph.written_together(readers)
        ):  # an MLP before the heads of its layer, which it may read
            if group == (0,) or not constant.isdisjoint(group):
                continue
            if all(own_position.issuperset(readers[column]) for column in group):
                own_position.update(graph.own_rows(column)[0] for column in group)
                late.update(group)
        return cls(tuple(map(tuple, reads)), frozenset(readers), frozenset(late), frozenset(constant))


def _drop_idle_scores(graph: ComputationGraph, reads: list[list[int]], rotary: bool) -> set[int]:
    """The constant columns. Empties the queries and keys of heads whose output does not depend on attention scores."""
    constant: set[int] = set()
    for group in graph.written_together(range(1, graph.n_sources)):
        contents = [graph.own_rows(column)[-1] for column in group]
        same = [constant.issuperset(reads[content]) for content in contents]
        for column, settled in zip(group, same, strict=True):
            *scores, _ = graph.own_rows(column)
            if settled or (scores and not rotary and constant.issuperset(reads[scores[1]])):
                for row in scores:
                    reads[row] = []
        if all(same):
            constant.update(group)
    return constant


def _drop_dead(graph: ComputationGraph, reads: list[list[int]]) -> dict[int, list[int]]:
    """The readers (rows) of every column from which a path leads to the logits. Empties what all the others read."""
    readers: dict[int, list[int]] = {}
    for source in reads[graph.logits_row]:
        readers.setdefault(source, []).append(graph.logits_row)
    for group in reversed(graph.written_together(range(graph.n_sources))):
        live = not readers.keys().isdisjoint(group)
        for column in group:
            if live:
                readers.setdefault(column, [])
            for row in graph.own_rows(column):
                if not live:
                    reads[row] = []
                for source in reads[row]:
                    readers.setdefault(source, []).append(row)
    return readers


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


@dataclass(frozen=True)
class Work:
    """What a run has to compute: `rows`, the readers' inputs; `columns`, the nodes' outputs."""

    rows: frozenset[int]
    columns: frozenset[int]

    @classmethod
    def of(cls, graph: ComputationGraph, plan: Plan, base: Plan | None) -> Work:
        """What lies downstream of where `plan` differs from `base`; everything without a base."""
        rows: set[int] = set()
        columns: set[int] = set()

        def stale(row: int) -> bool:
            reads = plan.reads[row]
            return base is None or reads != base.reads[row] or not columns.isdisjoint(reads)

        for group in graph.written_together(plan.live):
            changed = [row for column in group for row in graph.own_rows(column) if stale(row)]
            rows.update(changed)
            known = base is not None and all(
                column in base.live and (column in plan.late or column not in base.late) for column in group
            )
            if changed or not known:
                columns.update(group)
        if stale(graph.logits_row):
            rows.add(graph.logits_row)
        return cls(frozenset(rows), frozenset(columns))


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
        self.tokens, self.last, (self.b, self.t) = tokens, last, tokens.shape
        self.places = torch.arange(self.b, device=tokens.device) * self.t + last
        self.uniform = replacement is None or replacement.sources.shape[1:3] == (1, 1)

    def plan(self, edge_mask: NDArray[np.bool_]) -> Plan:
        rotary = any(layer.attention.rotary for layer in self.folded.source.layers)
        return Plan.of(self.graph, edge_mask, constants=self.uniform, rotary=rotary)

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
        self.n, self.d = on.b * on.t, self.config.d_model
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
                self.state.ends[column] = base.everywhere[column][self.on.places]
            if column in base.ends:
                self.state.ends[column] = base.ends[column]
            for row in self.graph.own_rows(column):
                if row in base.projected:
                    self.state.projected[row] = base.projected[row]

    def finish(self) -> State:
        if 0 in self.work.columns:
            out = self._place(np.array([0]))
            out.copy_(self.on.folded.embed(self.on.tokens).view(1, self.n, self.d))
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
            self.state.final = self.empty(self.on.b, self.d).zero_()
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
        return {_At.EVERYWHERE: self.n, _At.END: self.on.b, _At.ONCE: 1}[at]

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
            keys_values = self._project(rows[h:], first.start, layer.qkv, places[h:]).view(
                2 * h, self.on.b, self.on.t, -1
            )
            hidden = some.attention_at(queries, keys_values, self.on.last, h)
        else:
            projected = self._project(rows, first.start, layer.qkv, places)
            hidden = some.attention(projected.view(3 * h, self.on.b, self.on.t, -1))
        out = self._place(columns, at)
        for place, head in enumerate(places[:h].tolist()):  # one by one: gathering the heads' weights would cost more
            write_out(hidden[place, None], layer.o[head, None], layer.o_bias, out[place, None])
        self._written(out, columns, at)

    def _mlp(self, index: int, layer: FoldedLayer, column: int) -> None:
        row, at = self.graph.mlp_row(index), self._at(column)
        n_sources = self.graph.n_sources_of(row)
        projected = self._project(np.array([row]), n_sources, layer.mlp_in[None], np.array([0]), at)
        out = self._place(np.array([column]), at)
        write_out(layer.mlp(projected, self.config.activation), layer.mlp_out[None], layer.mlp_out_bias, out)
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
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, row in enumerate(rows.tolist()):
            known = self._known(row, at)
            if known is None:
                groups.setdefault(self.plan.reads[row], []).append(i)
            else:
                out[i] = known
        terms = sum(column not in self.plan.constant for reads in groups for column in reads)
        if (
            len(self.stored)
            and at is _At.EVERYWHERE
            and (terms > np.searchsorted(self.stored, n_sources) + len(groups))
        ):
            for member, x in enumerate(self._mix(rows, n_sources)):
                self._project_one(x, weight, [int(places[member])], out, [member])
        else:
            for reads, members in groups.items():
                self._project_one(self._sum(reads, n_sources, at), weight, places[members].tolist(), out, members)
        if len(weight) > 1 and at is not _At.ONCE:  # what an MLP reads is not worth its size
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
        return known[self.on.places] if at is _At.END else None

    def _mix(self, rows: NDArray[np.int64], n_sources: int) -> Tensor:
        """Inputs [r, n, D] of readers, by a matrix product over all stored sources among their first `n_sources`."""
        n_stored = int(np.searchsorted(self.stored, n_sources))
        mask = np.zeros((len(rows), n_stored), dtype=np.float32)
        constants: list[list[Tensor]] = []
        for i, row in enumerate(rows.tolist()):
            reads = self.plan.reads[row]
            mask[i, np.searchsorted(self.stored, [c for c in reads if c not in self.plan.constant])] = 1
            constants.append([self.state.everywhere[c] for c in reads if c in self.plan.constant])
        mixed = torch.from_numpy(mask).to(self.buffer) @ self.buffer[:n_stored].view(n_stored, -1)
        inputs = mixed.view(len(rows), self.n, self.d)
        for x, parts in zip(inputs, constants, strict=True):
            if parts:
                x += torch.stack(parts).sum(0)
        if self.replacement is not None:
            inputs += self._flowing(n_sources, _At.EVERYWHERE)
        return inputs

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
        if self.on.uniform:
            return self.replacement.prefix_sum(n_sources, 1, 1)[0]
        flowing = self.replacement.prefix_sum(n_sources, self.on.b, self.on.t)[0]
        return flowing[self.on.places] if at is _At.END else flowing

    def _end(self, column: int) -> Tensor:
        """A source [b, D] at the last positions, [1, D] if it is constant."""
        if column in self.plan.constant:
            return self.state.everywhere[column]
        if column not in self.state.ends:
            self.state.ends[column] = self.state.everywhere[column][self.on.places]
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
            b, t = (1, 1) if self.on.uniform else (self.on.b, self.on.t)
            for place, column in zip(out, columns.tolist(), strict=True):
                flowing = self.replacement.of(slice(column, column + 1), b, t)[0]
                place -= flowing[self.on.places] if at is _At.END and not self.on.uniform else flowing
        (self.state.ends if at is _At.END else self.state.everywhere).update(zip(columns.tolist(), out, strict=True))
