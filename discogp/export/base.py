"""What an export format is, and the registry of all of them.

One format is one file in this folder that registers a `Format`; the export menu and `export --format` follow from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from discogp.circuits.circuit import Circuit
from discogp.drawing.palette import Theme
from discogp.drawing.view import GraphView, Widths, build_view
from discogp.errors import ArtifactError
from discogp.export.facts import Measured, edit_in_words, facts, figures, lines, metrics_of_edit
from discogp.registry import Registry


@dataclass(frozen=True)
class Wanted:
    """What is to be carried away. `off`: names of edges and nodes that are switched off; `max_edges`: how many of the
    strongest edges, None for all; `scale`: pixels of a bitmap for each of the drawing's; `measured`: figures that were
    computed just now; `again`: the command that makes the same; `widths`: what lines are as wide as."""

    circuit: Circuit
    max_edges: int | None
    off: frozenset[str]
    theme: Theme
    scale: float
    title: str | None
    measured: Measured | None = None
    again: str = ""
    widths: Widths | None = None

    def view(self) -> GraphView:
        """The drawing: what is off is in it, in grey, and the figures are those of what is left."""
        view = build_view(self.circuit, self.max_edges, self.off, title=self.title, widths=self.widths)
        edit = {}
        if self.off:
            words = f"edited: {edit_in_words(self.circuit, self.off, self.measured)} · {self.circuit.ablation} ablation"
            edit = {"title": f"{view.title} · edited", "subtitle": words}
        metrics = figures(self.circuit, bool(self.off), self.measured)
        shown = () if self.widths is None else (f"line width: {self.widths.what}",)
        return replace(view, metrics=metrics, notes=(*shown, *lines(self.facts)), **edit)

    @cached_property
    def facts(self) -> dict[str, str]:
        """What the export says of itself."""
        return facts(self.circuit, self.off, self.measured, self.again)

    def left(self) -> Circuit:
        """The data: the circuit without what is off, with its own figures or none; its provenance says so."""
        made = dict(self.circuit.provenance)
        if self.off:
            made.pop("metrics", None)
            made |= {"switched_off": sorted(self.off), **metrics_of_edit(self.circuit, self.measured)}
        elif self.measured and "metrics" not in made:
            made["metrics"] = {**self.measured.circuit, **self.measured.parts()}
        provenance = {**made, "export": self.facts}
        return replace(self.circuit.without(self.off) if self.off else self.circuit, provenance=provenance)


@dataclass(frozen=True)
class Format:
    """`name` is the file's ending too, unless `ending` is another. `most_edges`: how many edges it takes when nobody
    says (None: all): what still reads well, or what a browser still moves. `place`: where it stands in the menu;
    `draws`: whether its lines have widths that show something."""

    name: str
    title: str
    media_type: str
    most_edges: int | None
    make: Callable[[Wanted], bytes]
    place: int = 100
    ending: str = ""
    draws: bool = False

    @property
    def suffix(self) -> str:
        """What the file's name ends in, without the dot."""
        return self.ending or self.name


FORMATS: Registry[Format] = Registry("export format", ("discogp.export",), ArtifactError)


def register(format: Format) -> Format:
    """Make a format known. ArtifactError for a name that is taken."""
    return FORMATS.add(format.name, format)
