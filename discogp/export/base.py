"""What an export format is, and the registry of all of them.

One format is one file in this folder that registers a `Format`; the export menu and `export --format` follow from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from discogp.circuits.circuit import Circuit
from discogp.drawing.palette import Theme
from discogp.drawing.view import GraphView, build_view
from discogp.errors import ArtifactError
from discogp.registry import Registry


@dataclass(frozen=True)
class Wanted:
    """What is to be carried away. `off`: names of edges and nodes that are switched off; `max_edges`: how many of the
    strongest edges, None for all; `scale`: pixels of a bitmap for each of the drawing's."""

    circuit: Circuit
    max_edges: int | None
    off: frozenset[str]
    theme: Theme
    scale: float
    title: str | None

    def view(self) -> GraphView:
        """The drawing: what is off is in it, in grey."""
        return build_view(self.circuit, self.max_edges, self.off, title=self.title)

    def left(self) -> Circuit:
        """The data: the circuit without what is off, which its provenance names."""
        if not self.off:
            return self.circuit
        provenance = {**self.circuit.provenance, "switched_off": sorted(self.off)}
        return replace(self.circuit.without(self.off), provenance=provenance)


@dataclass(frozen=True)
class Format:
    """`name` is the file's ending too. `most_edges`: how many edges it takes when nobody says (None: all): what still
    reads well, or what a browser still moves. `place`: where it stands in the menu."""

    name: str
    title: str
    media_type: str
    most_edges: int | None
    make: Callable[[Wanted], bytes]
    place: int = 100


FORMATS: Registry[Format] = Registry("export format", ("discogp.export",), ArtifactError)


def register(format: Format) -> Format:
    """Make a format known. ArtifactError for a name that is taken."""
    return FORMATS.add(format.name, format)
