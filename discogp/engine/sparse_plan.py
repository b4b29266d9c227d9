"""What of a sparse circuit has to be computed, and what of it again after a change. Plain sets of columns and rows.

Axes as in `masked_pass`. A circuit that keeps a few per cent of the edges leaves most nodes without a path to the
logits; they change nothing and are skipped. *Late* nodes, from which every path to the logits stays at its own
position, are computed at the last position alone: attention moves information between positions through keys and
values only, so an MLP or a head is late if nothing reads it but the logits, late MLPs and the queries of late heads.
*Constant* nodes write one vector, whatever the prompt and the position: an MLP that reads nothing but constants, and
a head whose values do, since attention weights sum to one. They are computed once, on one row, and what their queries
and keys read need not be there at all. The same goes for what decides attention between equal keys.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from discogp.circuits.graph import ComputationGraph


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
