"""Plain lists of edges: text, CSV or JSON, an edge a row, with a score or without.

    # what follows a hash is a comment
    input->a0.h0<q>
    a0.h0->m1	0.25
    edge,score,in_graph                     a header may name the columns, in any order,
    source,target,score                     and give an edge in two
    blocks.3.hook_q_input[:, :, 2]blocks.0.attn.hook_result[:, :, 1]     ACDC's, see `names`

A list says nothing of the model; its shape comes from the model, or from a comment that this package wrote.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from typing import Any

import numpy as np

from discogp.circuits.circuit import Circuit
from discogp.circuits.foreign.names import ARROWS, edge_name, has_hooks, hook_edge, joined_name, tidy
from discogp.circuits.foreign.shapes import claimed_graph
from discogp.circuits.graph import ComputationGraph
from discogp.errors import ArtifactError, GraphError

FORM = "list of edges"
SHAPE_COMMENT = "# graph: "
_MAX_LINE = 2000
_COLUMNS = {
    "edge": ("edge", "edges", "name", "edge_name", "edge_id", "id"),
    "source": ("source", "src", "parent", "from", "sender"),
    "target": ("target", "tgt", "dst", "dest", "destination", "child", "to", "reader", "receiver"),
    "kind": ("kind", "type", "qkv", "input"),
    "score": ("score", "scores", "weight", "effect", "effect_size", "attribution", "value"),
    "in_graph": ("in_graph", "kept", "present", "in_circuit"),
}
_NUMBER = re.compile(r"[-+]?[\d.]\S*|nan|[-+]?inf", re.IGNORECASE)
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
# What the printed form of ACDC's own objects says around names, indices and scores.
_ACDC_WORDS = frozenset({"edge", "edgetype.addition", "edgetype.direct_computation", "edgetype.placeholder"})


@dataclass(frozen=True)
class Row:
    """One edge as the file has it; `where` is its place, for errors."""

    where: str
    name: str
    score: float | None
    kept: bool
    embedding: str | None = None


@dataclass
class _Columns:
    """What each column holds, from a header or, without one, name and score in their order."""

    places: Mapping[str, int] = field(default_factory=lambda: {"edge": 0, "score": 1, "in_graph": 2})

    def get(self, cells: Sequence[str], column: str) -> str:
        place = self.places.get(column, len(cells))
        return cells[place].strip() if place < len(cells) else ""


def shape_in(text: str) -> ComputationGraph | None:
    """The graph that a comment of this package's own lists names; None without one."""
    line = next((line for line in text.splitlines()[:60] if line.startswith(SHAPE_COMMENT)), None)
    if line is None:
        return None
    form = r"(\d{1,4}) layers, (\d{1,4}) heads((?:, parallel|, joint heads)*)"
    found = re.fullmatch(form, line[len(SHAPE_COMMENT) :].strip())
    if found is None:
        raise ArtifactError(f"the comment {line[:80]!r} gives no shape of a model, as `4 layers, 8 heads` would")
    return claimed_graph(
        int(found[1]), int(found[2]), listed=text.count("\n"), source="its comment",
        parallel="parallel" in found[3], joint_heads="joint" in found[3],
    )  # fmt: skip


def shape_comment(graph: ComputationGraph) -> str:
    kinds = ", parallel" * graph.parallel + ", joint heads" * graph.joint_heads
    return f"{SHAPE_COMMENT}{graph.n_layers} layers, {graph.n_heads} heads{kinds}"


def circuit_of_rows(rows: Iterable[Row], graph: ComputationGraph, provenance: Mapping[str, Any]) -> Circuit:
    """The circuit of the listed edges. One that is not listed is off and ranks below every one that is.

    ArtifactError for an edge that is listed twice or is none of the graph, and for scores that only some have.
    """
    listed: dict[int, Row] = {}
    halves: dict[int, set[str]] = {}
    for row in rows:
        try:
            index = graph.index(row.name)
        except GraphError as error:
            raise ArtifactError(f"{row.where}: {error}") from error
        if row.embedding:
            halves.setdefault(index, set()).add(row.embedding)
        if index in listed and not (row.embedding and listed[index].embedding not in (None, row.embedding)):
            raise ArtifactError(f"{row.where} names {row.name}, which {listed[index].where} has named; keep one")
        listed[index] = row
    _check_halves(halves, listed)
    if not listed:
        raise ArtifactError("the list names no edge; a line is one, such as input->a0.h0<q>")
    scored = sum(row.score is not None for row in listed.values())
    if 0 < scored < len(listed):
        without = next(row for row in listed.values() if row.score is None)
        raise ArtifactError(f"{without.where}: {without.name} has no score, which others have; give all or none")
    mask = np.zeros(graph.n_edges, dtype=bool)
    mask[[index for index, row in listed.items() if row.kept]] = True
    scores = None
    if scored:
        given = np.array([row.score for row in listed.values()], dtype=np.float32)
        scores = np.full(graph.n_edges, min(0.0, float(given.min())), dtype=np.float32)
        scores[list(listed)] = given
    return Circuit(graph, mask, scores, ablation="resample", provenance=provenance)


def _check_halves(halves: Mapping[int, set[str]], listed: Mapping[int, Row]) -> None:
    """Where a file tells the two embeddings apart, an edge from `input` is both; one alone has no equivalent."""
    if not any("hook_pos_embed" in half for half in halves.values()):
        return
    for index, half in halves.items():
        if len(half) == 1:
            raise ArtifactError(
                f"{listed[index].where}: {next(iter(half))} alone is kept for {listed[index].name}, which has no "
                "equivalent: here token and position embeddings are one node, input"
            )


def rows_of_text(text: str, graph: ComputationGraph, left_out: list[str]) -> Iterator[Row]:
    """The rows of a text. What is within a component, and so no edge here, goes to `left_out`."""
    columns, first = _Columns(), True
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"line {number}"
        if len(line) > _MAX_LINE:
            raise ArtifactError(f"{where} has {len(line):,} characters; an edge has at most {_MAX_LINE:,}")
        line = unescape(line).strip()
        if not line or line.startswith(("#", "//", "%")):
            continue
        if has_hooks(line):
            yield from _hook_row(where, line, graph, left_out)
            first = False
            continue
        cells = _cells(line)
        if first and (named := _header(cells)):
            columns = _Columns(named)
        else:
            yield _row(where, cells, columns)
        first = False


def rows_of_json(data: Any, graph: ComputationGraph, left_out: list[str]) -> Iterator[Row]:
    """The rows of a JSON list (names, pairs, objects) or of an object that maps names to scores."""
    items = data.items() if isinstance(data, dict) else data
    for number, item in enumerate(items, start=1):
        where = f"entry {number}"
        if isinstance(item, dict):
            columns, parts = _Columns(_header(list(item)) or {}), list(item.values())
        else:
            parts = list(item) if isinstance(item, (list, tuple)) else [item]
            columns = _Columns()
        if any(isinstance(part, (list, dict)) for part in parts):
            raise ArtifactError(f"{where} holds lists or objects; an edge is a name, or a list of names and a score")
        cells = ["" if part is None else str(part) for part in parts]
        if sum(map(len, cells)) > _MAX_LINE:
            raise ArtifactError(f"{where} has more than {_MAX_LINE:,} characters; an edge has fewer")
        if not isinstance(item, dict) and len(cells) > 1 and "->" not in cells[0] and not has_hooks(cells[0]):
            columns = _Columns({"source": 0, "target": 1, "score": 2})
        if has_hooks(" ".join(cells)):
            yield from _hook_row(where, " ".join(cells), graph, left_out)
        else:
            yield _row(where, cells, columns)


def _cells(line: str) -> list[str]:
    """A line by its separator: tabs, semicolons, commas, or spaces that do not belong to an arrow or a name."""
    for separator in ("\t", ";", ","):
        if separator in line:
            return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    parts = line.rsplit(None, 1)
    scored = len(parts) == 2 and ARROWS.search(parts[0]) and not parts[0].lower().endswith("mlp")
    return parts if scored and _NUMBER.fullmatch(parts[1]) else [line]


def _header(cells: Sequence[str]) -> dict[str, int] | None:
    """Column -> place, if the cells are names of columns."""
    words = [tidy(cell).lower().replace(" ", "_") for cell in cells]
    named = {
        column: place
        for place, word in enumerate(words)
        for column, names in _COLUMNS.items()
        if word in names and "->" not in word
    }
    return named if "edge" in named or {"source", "target"} <= set(named) else None


def _row(where: str, cells: Sequence[str], columns: _Columns) -> Row:
    if columns.get(cells, "edge"):
        name = edge_name(columns.get(cells, "edge"))
    else:
        source, target, kind = (columns.get(cells, part) for part in ("source", "target", "kind"))
        if not source or not target:
            raise ArtifactError(f"{where} names no edge: {' '.join(cells)[:80]!r}; one looks like input->a0.h0<q>")
        reads = kind.lower() if kind.lower() in ("q", "k", "v") and not re.search("[<.\\[][qkvQKV]", target) else ""
        name = joined_name(source, f"{tidy(target)}<{reads}>" if reads else target)
    if "->" not in name:
        raise ArtifactError(f"{where} names no edge: {name[:80]!r}; one looks like input->a0.h0<q>, a0.h1->m3")
    score = columns.get(cells, "score")
    return Row(where, name, _score(score, where, name) if score else None, _kept(columns.get(cells, "in_graph"), where))


def _hook_row(where: str, line: str, graph: ComputationGraph, left_out: list[str]) -> Iterator[Row]:
    try:
        found = hook_edge(line, graph)
    except ArtifactError as error:
        raise ArtifactError(f"{where}: {error}") from error
    if found.name is None:
        left_out.append(line)
        return
    score, kept = None, True
    for word in re.split(r"[\s,;:()\[\]{}=\"'|]+", ARROWS.sub(" ", found.rest)):
        if word.lower() in ("true", "false"):
            kept = word.lower() == "true"
        elif word and word.lower() not in _ACDC_WORDS:
            if score is not None:
                raise ArtifactError(f"{where} has more than one number beside its hooks: {line[:120]!r}")
            score = _score(word, where, found.name)
    yield Row(where, found.name, score, kept, found.embedding)


def _score(text: str, where: str, name: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not abs(score) <= float(np.finfo(np.float32).max):
        raise ArtifactError(f"{where}: the score of {name[:80]} is {text[:40]!r}; it must be a finite number")
    return score


def _kept(text: str, where: str) -> bool:
    if not text:
        return True
    if text.lower() not in _TRUTH:
        raise ArtifactError(f"{where}: whether the edge is kept is {text[:40]!r}; it is true or false")
    return _TRUTH[text.lower()]


def edge_list(circuit: Circuit, comments: Iterable[str] = (), *, separator: str = "\t", most: int | None = None) -> str:
    """The kept edges, strongest first, an edge a line, with their scores if they have some. Read back as they were."""
    scores = circuit.edge_scores
    lines = [f"# {' '.join(comment.split())}" for comment in comments]
    lines.append(shape_comment(circuit.graph))
    if separator == ",":
        lines.append("edge" if scores is None else "edge,score")
    for edge in circuit.strongest(most):
        lines.append(edge.name if scores is None else f"{edge.name}{separator}{scores[edge.index]}")
    return "\n".join(lines) + "\n"
