"""A circuit asked again and again with a few edges changed: one edge after the other, or each of them in turn.

Axes: edge e, prompt b, vocabulary V. The circuit's nodes' outputs are kept, so that only what lies downstream of a
change is computed (see `sparse_pass`). Leaving out every edge in turn gives every core circuits of its own, so that
none waits for another, and reads the answers of many circuits at once; of those that compute the same, not at all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discogp.engine.lanes import Lanes
from discogp.engine.memory import kept_bytes
from discogp.engine.sparse_pass import State
from discogp.engine.workspace import Workspace
from discogp.evaluation.outcome import Outcome
from discogp.evaluation.readout import Reading, read_out
from discogp.evaluation.scorer import Scorer

_ROWS_READ_TOGETHER = 1024
_HALF_MAY_COST = 1e-3  # in a batch's mean figures

Report = Callable[[int, int], None]
_Reference = tuple[tuple[torch.Tensor, ...], Reading]


@dataclass(frozen=True, eq=False)
class LeftOut:
    """What a circuit does without one of its edges (`edge`: its index).

    `change` [b]: KL(circuit ‖ circuit without it) in nats; `changed` [b]: whether the likeliest token, the
    right-over-wrong verdict, or whether the likeliest text is a right answer, is another.
    """

    edge: int
    outcome: Outcome
    change: NDArray[np.float32]
    changed: NDArray[np.bool_]


class _Own(threading.local):
    """Buffers of a thread's own."""

    def __init__(self) -> None:
        self.workspace = Workspace()


class Toggler:
    """One circuit on a scorer's prompts, ready to be run with other edges. Threads may share it.

    Those that ask for an outcome take turns; leaving out every edge goes on beside them, in buffers of its own. Kept
    are the outputs of the circuit's live nodes, batch by batch until `keep` bytes are used (by default a share of the
    memory that is free, see `engine.memory`). Where they run out, outputs are kept in half precision, of the first
    batches last, as long as that moves no figure by more than 1e-3. What then has no room, and circuits so dense that
    the scorer runs them densely, are run afresh each time.
    """

    def __init__(self, scorer: Scorer, edge_mask: NDArray[np.bool_], keep: int | None = None) -> None:
        self.scorer, self.edge_mask = scorer, edge_mask
        self._given, self._keep = keep, keep or 0
        self._states: dict[int, State] = {}
        self._only_whole: set[int] = set()  # batches whose states half precision would spoil
        self._workspace = Workspace()
        self._lock = threading.Lock()

    def outcome(self, edge_mask: NDArray[np.bool_]) -> Outcome:
        """What the model does with these edges [E] only; the quicker, the less differs from the circuit."""
        return Outcome.joined(list(self.parts(edge_mask)))

    def parts(self, edge_mask: NDArray[np.bool_]) -> Iterator[Outcome]:
        """The same batch by batch. Between two of them others may have their turn."""
        for index in range(len(self.scorer.batches)):
            yield self.part(index, edge_mask)

    def part(self, index: int, edge_mask: NDArray[np.bool_]) -> Outcome:
        """The same of one batch."""
        with self._lock:
            if self.scorer.runs_sparsely(edge_mask):
                run = self.scorer.runner(index).run(edge_mask, self._kept(index), self._workspace)
                logits = self.scorer.folded.unembed(run.final)
            else:
                logits = self.scorer.dense_logits(index, edge_mask)
            return self.scorer.read(index, logits)

    def leave_one_out(self, edges: Sequence[int], progress: Report | None = None) -> tuple[LeftOut, ...]:
        """The circuit without each of these edges in turn, in their order.

        `progress` is called with how many of all runs are done; what it raises ends the work (to cancel it).
        """
        total, done = len(edges) * len(self.scorer.batches), 0

        def report(runs: int) -> None:
            nonlocal done
            done += runs
            if progress is not None:
                progress(done, total)

        return tuple(one for some in self.each_left_out([edges], report) for one in some)

    def each_left_out(
        self, chunks: Iterable[Sequence[int]], report: Callable[[int], None] | None = None
    ) -> Iterator[tuple[LeftOut, ...]]:
        """The same a few edges at a time, as they are done; the next chunk is asked for only then.

        `report`: called after every batch with the number of runs since.
        """
        together = max(1, _ROWS_READ_TOGETHER // max(batch.n_rows for batch in self.scorer.batches))
        lanes = Lanes(torch.get_num_threads() if self.scorer.model.device.type == "cpu" else 1)
        own = _Own()
        references: dict[int, _Reference] = {}
        for chosen in (chunk[start : start + together] for chunk in chunks for start in range(0, len(chunk), together)):
            parts: list[list[tuple[NDArray[Any], ...]]] = [[] for _ in chosen]
            for index in range(len(self.scorer.batches)):
                for mine, found in zip(parts, self._left_out_of(index, chosen, lanes, own, references), strict=True):
                    mine.append(found)
                if report is not None:
                    report(len(chosen))
            yield tuple(_left_out(edge, found) for edge, found in zip(chosen, parts, strict=True))

    def _left_out_of(
        self, index: int, edges: Sequence[int], lanes: Lanes, own: _Own, references: dict[int, _Reference]
    ) -> list[tuple[NDArray[Any], ...]]:
        """Of each of these edges, what one batch's prompts say without it: the columns of its part of a `LeftOut`."""
        folded, batch = self.scorer.folded, self.scorer.batches[index]
        runner = self.scorer.runner(index)
        with self._lock:
            base = self._kept(index) or runner.run(self.edge_mask)
        if index not in references:
            references[index] = self._reference(index, base)
        log_probs, before = references[index]
        same = tuple(column[0].cpu().numpy() for column in before.columns)
        same = (*same[:-1], np.zeros_like(same[-1]), np.zeros(len(batch), dtype=bool))
        finals = lanes.map(lambda edge: runner.run(self._without(edge), base, own.workspace).final, edges)
        parts = [same for _ in edges]
        other = [place for place, final in enumerate(finals) if final is not base.final]
        if other:
            reading = read_out(folded, torch.stack([finals[place] for place in other]), batch, log_probs)
            changed = (reading.top_token != before.top_token) | (reading.correct != before.correct)
            changed |= reading.top_is_right != before.top_is_right  # another token later in an answer
            columns = [column.cpu().numpy() for column in (*reading.columns, changed)]
            for i, place in enumerate(other):
                parts[place] = tuple(column[i] for column in columns)
        return parts

    def _reference(self, index: int, base: State) -> _Reference:
        """What changes of one batch are measured from: the model's and the circuit's log-probabilities [r, V], and
        what the circuit says."""
        folded = self.scorer.folded
        log_probs = (self.scorer.full_log_probs[index], folded.unembed(base.final).log_softmax(-1))
        return log_probs, read_out(folded, base.final[None], self.scorer.batches[index], log_probs)

    @property
    def kept(self) -> tuple[int, int]:
        """Of how many batches something is kept, and how many bytes that takes."""
        return len(self._states), sum(state.n_bytes for state in self._states.values())

    @property
    def n_halved(self) -> int:
        """Of how many batches it is kept in half precision."""
        return sum(state.half for state in self._states.values())

    def release(self) -> None:
        """Give back what is kept. The next answers are computed afresh, and of them what then fits is kept again."""
        with self._lock:
            self._states.clear()
            self._workspace = Workspace()

    def _without(self, edge: int) -> NDArray[np.bool_]:
        mask = self.edge_mask.copy()
        mask[edge] = False
        return mask

    def _kept(self, index: int) -> State | None:
        """The circuit's own state on a batch, None if there is no room for it."""
        if index not in self._states:
            if not self._states and self._given is None:
                self._keep = kept_bytes(self.scorer.model.device)
            state = self._to_keep(index)
            if state is None:
                return None
            self._states[index] = state
        return self._states[index].opened()

    def _to_keep(self, index: int) -> State | None:
        runner = self.scorer.runner(index)
        size = runner.state_bytes(runner.plan(self.edge_mask))
        if size <= self._room:
            return runner.run(self.edge_mask)
        for other in sorted(self._states, reverse=True):
            if size // 2 > self._room:
                self._states[other] = self._halved(other, self._states[other])
        if size // 2 > self._room or index in self._only_whole:
            return None
        state = self._halved(index, runner.run(self.edge_mask))
        return state if state.half else None

    @property
    def _room(self) -> int:
        return self._keep - self.kept[1]

    def _halved(self, index: int, state: State) -> State:
        """A batch's state in half precision, or as it is where that would move a figure."""
        if state.half or index in self._only_whole:
            return state
        half = state.halved()
        if self._serves(index, state, half.opened()):
            return half
        self._only_whole.add(index)
        return state

    def _serves(self, index: int, state: State, rounded: State) -> bool:
        """Whether edges left out of the one state say what they say left out of the other."""
        if not rounded.finite:
            return False
        runner, edges = self.scorer.runner(index), np.flatnonzero(self.edge_mask)
        matter = False
        for edge in edges[[len(edges) * part // 4 for part in (1, 2, 3) if len(edges)]].tolist():
            finals = [runner.run(self._without(edge), base).final for base in (state, rounded)]
            if finals[0] is not state.final:
                matter = True
                one, other = (self.scorer.read(index, self.scorer.folded.unembed(final)) for final in finals)
                if not _agree(one, other):
                    return False
        return matter


def _agree(one: Outcome, other: Outcome) -> bool:
    """Whether the mean figures are the same, but for what half precision may cost."""
    figures = ((one.kl, other.kl), (one.logit_diff, other.logit_diff), (one.correct, other.correct))
    return all(abs(float(a.mean() - b.mean())) <= _HALF_MAY_COST for a, b in figures)


def _left_out(edge: int, batches: list[tuple[NDArray[Any], ...]]) -> LeftOut:
    *columns, change, changed = (np.concatenate(column) for column in zip(*batches, strict=True))
    correct, top_token, top_is_right, logit_diff, kl = columns
    return LeftOut(edge, Outcome(correct, top_token, top_is_right, logit_diff, kl), change, changed)
