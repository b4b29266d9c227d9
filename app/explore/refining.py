"""Figures that refine behind the page: of every click the first prompts at once, then the rest, the newest click first.

One thread a circuit runs batches, and only while somebody waits: those of several visitors in turn. A visitor who asks
for something else gives up what came before; what of it is known is kept. No Streamlit here: its calls belong to its
threads.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from cachetools import LRUCache

from app.jobs import clicks_first

if TYPE_CHECKING:
    from discogp.evaluation.outcome import Outcome

_OUTCOMES = 64
_BREATH = 0.15  # seconds after first figures that took as long: the page draws them before the cores are busy again
_IDLE = 300.0  # seconds without a click, after which a circuit rests

Names = frozenset[str]


class Refinement:
    """What the circuit does without some edges and nodes, as far as it is known."""

    def __init__(self, names: Names, coming: Iterator[Outcome], changed: threading.Condition) -> None:
        self.names = names
        self.outcome: Outcome | None = None
        """On the first prompts, or on all once `settled`; None before the first are there."""
        self.settled = False
        self.error: Exception | None = None
        self._coming, self._changed = coming, changed
        self.visitors: set[str] = set()

    def wait(self, seconds: float, settled: bool = False) -> None:
        """Until there are figures, or all of them (`settled`), or it failed; at most so long."""
        with self._changed:
            self._changed.wait_for(lambda: self.over or (not settled and self.outcome is not None), seconds)

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.settled or self.error is not None

    def step(self) -> None:
        """Run one batch. Only ever called by one thread at a time."""
        try:
            outcome, error = next(self._coming, None), None
        except Exception as failure:  # told by whoever asked
            outcome, error = None, failure
        with self._changed:
            self.outcome, self.error = outcome or self.outcome, error
            self.settled = outcome is None and error is None
            self._changed.notify_all()


class Refiner:
    """Runs what the visitors of one circuit ask for. `begin`: a set of names -> its outcomes, on more and more prompts.

    `n`: how many prompts there are, so that an outcome on all of them is known to be the last. `rest`: called when
    nobody has asked for a while; where it says False, again after as long.
    """

    def __init__(
        self, begin: Callable[[Names], Iterator[Outcome]], n: int, rest: Callable[[], bool] = lambda: True
    ) -> None:
        self._begin, self._n, self._rest = begin, n, rest
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._known: LRUCache[Names, Refinement] = LRUCache(_OUTCOMES)
        self._asked: dict[str, Refinement] = {}
        self._turn: deque[Refinement] = deque()
        self._under_way: Refinement | None = None
        self._running = False
        self._looked = time.monotonic()
        self.busy = False
        """Whether somebody waits for figures, so that work which nobody looks at should stand back."""

    def ask(self, visitor: str, names: Names) -> Refinement:
        """Returns at once. What this visitor asked for before is given up, unless others wait for it too."""
        with self._lock:
            wanted = self._known.get(names)
            told = wanted is not None and wanted is self._asked.get(visitor)  # of a failure, which asking again repeats
            if wanted is None or (wanted.error is not None and not told):
                wanted = self._known[names] = Refinement(names, self._begin(names), self._changed)
            before = self._asked.get(visitor)
            if before is not None and before is not wanted:
                self._leave(visitor, before)
            if not wanted.over:
                self._asked[visitor] = wanted
                wanted.visitors.add(visitor)
                if wanted not in self._turn and wanted is not self._under_way:
                    self._turn.appendleft(wanted)  # the newest click first: its first batch, then in turn
            self._looked = time.monotonic()
            if not self._running:  # one thread for many clicks: PyTorch readies its own threads anew for each
                self._running = True
                threading.Thread(target=self._work, name="figures", daemon=True).start()
            self._changed.notify_all()
            return wanted

    def give_up(self, visitor: str) -> None:
        """This visitor no longer looks."""
        with self._lock:
            if (before := self._asked.get(visitor)) is not None:
                self._leave(visitor, before)

    def end(self) -> None:
        """Nobody will ask again: rest now, so that no thread holds what has been given up."""
        with self._lock:
            self._looked = float("-inf")
            self._changed.notify_all()

    def settled(self, names: Names) -> Outcome:
        """On all prompts, however long it takes; raises what computing it raised."""
        waiting = f"{threading.get_ident()}"  # a visitor of its own: no click takes it away
        wanted = self.ask(waiting, names)
        while not wanted.over:
            wanted.wait(60.0, settled=True)
        self.give_up(waiting)
        if wanted.error is not None:
            raise wanted.error
        assert wanted.outcome is not None
        return wanted.outcome

    def _leave(self, visitor: str, before: Refinement) -> None:
        self._asked.pop(visitor, None)
        before.visitors.discard(visitor)

    def _work(self) -> None:
        while (one := self._next()) is not None:
            first, began = one.outcome is None, time.monotonic()
            with clicks_first():
                one.step()
            with self._lock:
                self._under_way = None
                if first and not one.over and time.monotonic() - began > _BREATH:
                    self._changed.wait(_BREATH)
                if one.outcome is not None and len(one.outcome) == self._n:
                    one.step()  # the end of the iterator: nothing is computed any more
                if not one.over:
                    self._turn.append(one)
                elif one.settled:
                    for visitor in tuple(one.visitors):
                        self._leave(visitor, one)

    def _next(self) -> Refinement | None:
        """Whose batch comes next; None, and the thread ends, where nobody has asked for so long that it rests."""
        with self._lock:
            while True:
                while self._turn:
                    if (one := self._turn.popleft()).visitors:
                        self.busy, self._under_way = True, one
                        return one
                self.busy = False
                left = self._looked + _IDLE - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                elif self._rest():
                    self._running = False
                    return None
                else:
                    self._looked = time.monotonic()
