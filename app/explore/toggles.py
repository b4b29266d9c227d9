"""What the user has switched off, with undo and redo. Plain data: no Streamlit, no model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

_LIMIT = 200  # steps remembered


@dataclass(frozen=True)
class Toggles:
    """Edges and nodes that are off, by name. A node that is off takes all its edges with it."""

    edges: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, edges: Iterable[str], nodes: Iterable[str]) -> Toggles:
        return cls(frozenset(edges), frozenset(nodes))

    @property
    def names(self) -> frozenset[str]:
        return self.edges | self.nodes

    def __bool__(self) -> bool:
        return bool(self.edges or self.nodes)


@dataclass
class History:
    """The toggles of one circuit as one visitor left them.

    `revision` moves when the page, not the graph, changed the toggles (undo, redo, reset, a link, a return to
    the page); `sent` is what the graph was told then. A click on the graph moves neither: echoing it back
    would send the whole graph again and make quick clicks overtake each other.
    """

    current: Toggles = Toggles()
    revision: int = 0
    sent: Toggles = Toggles()
    past: list[Toggles] = field(default_factory=list)
    future: list[Toggles] = field(default_factory=list)
    seen: tuple[int, Toggles] | None = None
    by_effect: bool = False
    """Whether the drawing's widths show effects, so that a picture's do too."""

    def clicked(self, sequence: int, toggles: Toggles) -> bool:
        """Take over what the graph reports; False if that is old news, for instance a report before an undo."""
        if sequence <= 0 or (sequence, toggles) == self.seen:
            return False
        self.seen = (sequence, toggles)
        return self._step(toggles)

    def _step(self, toggles: Toggles) -> bool:
        if toggles == self.current:
            return False
        self.past = [*self.past[-_LIMIT:], self.current]
        self.future = []
        self.current = toggles
        return True

    def undo(self) -> None:
        if self.past:
            self.future.append(self.current)
            self.current = self.past.pop()
            self._tell()

    def redo(self) -> None:
        if self.future:
            self.past.append(self.current)
            self.current = self.future.pop()
            self._tell()

    def set(self, toggles: Toggles) -> None:
        """A change that comes from the page: a reset (`Toggles()`), a link."""
        if self._step(toggles):
            self._tell()

    def remounted(self) -> None:
        """The graph starts anew (return to the page): it knows nothing, and counts its reports from one again."""
        self.seen = None
        self._tell()

    def _tell(self) -> None:
        self.sent = self.current
        self.revision += 1
