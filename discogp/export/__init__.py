"""Carry a circuit away: pictures, a page that works alone, data; one file a format.

In: a `Circuit`, what is switched off in it, and its figures if they were just computed. Out: the bytes of a file
(`render`), or the file (`export`). Pictures are drawn from the same GraphView as the page; data hold all of it. What an
export says of itself is in `facts`. `huggingface` writes a whole model folder.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from discogp.circuits.circuit import Circuit
from discogp.drawing.palette import PALETTES, Theme
from discogp.drawing.view import Widths
from discogp.errors import ArtifactError
from discogp.export.base import FORMATS, Wanted
from discogp.export.facts import Measured, command
from discogp.paths import check_writable, replaced_file

__all__ = ["FORMATS", "Measured", "export", "render"]


def render(
    circuit: Circuit,
    format: str,
    *,
    max_edges: int | None = None,
    off: Collection[str] = frozenset(),
    theme: Theme = "light",
    scale: float = 2.0,
    title: str | None = None,
    measured: Measured | None = None,
    source: str | None = None,
    widths: Widths | None = None,
) -> bytes:
    """The bytes of a file in one of FORMATS.

    `max_edges`: how many of the strongest edges; None for the format's own number. `off`: names of
    edges and nodes that are switched off: pictures show them grey, data hold the circuit that is left. `scale`: pixels
    of a PNG for each pixel of the SVG. `json` and `mib` always hold every kept edge.

    `measured`: figures that were just computed, with off edges those of what is left among them; without them, the
    figures saved with the circuit are shown as the original's, and that what is left was not measured. `source`: where
    the circuit is, for the command that makes the export again. `widths`: what pictures show by the width of lines, and
    say so; the edges' scores by default.
    Raises ArtifactError for an unknown format, theme or size, and GraphError for an unknown name in `off`.
    """
    chosen = FORMATS[format]
    if theme not in PALETTES:
        raise ArtifactError(f"unknown theme {theme!r}; allowed: {', '.join(PALETTES)}")
    if max_edges is not None and max_edges < 0:
        raise ArtifactError(f"max_edges is {max_edges}; it must be 0 or more")
    most = chosen.most_edges if max_edges is None else max_edges
    names = frozenset(off)
    scored = bool(names) and measured is not None and measured.edited is not None
    widths = widths if chosen.draws else None
    drawn = "score" if widths is None else widths.name
    again = command(source, format, chosen.suffix, names, max_edges=max_edges, theme=theme, scored=scored, widths=drawn)
    return chosen.make(Wanted(circuit, most, names, theme, scale, title, measured, again, widths))


def export(
    circuit: Circuit,
    format: str,
    path: str | Path,
    *,
    max_edges: int | None = None,
    off: Collection[str] = frozenset(),
    theme: Theme = "light",
    scale: float = 2.0,
    title: str | None = None,
    measured: Measured | None = None,
    source: str | None = None,
    widths: Widths | None = None,
) -> Path:
    """Write `render`'s bytes to a file, replacing it whole or not at all; ArtifactError where that cannot be."""
    target = Path(path)
    try:
        taken, parent = target.is_dir(), target.parent.is_dir()
    except OSError as error:
        raise ArtifactError(f"{str(target)[:80]} cannot be the name of a file: {error.strerror}") from error
    if taken:
        raise ArtifactError(f"{target} is a folder; give the name of a file, such as {target / f'circuit.{format}'}")
    if not parent:
        raise ArtifactError(f"there is no folder {target.parent} to write {target.name} into; make it first")
    check_writable(target)
    content = render(
        circuit, format, max_edges=max_edges, off=off, theme=theme, scale=scale, title=title, measured=measured,
        source=source, widths=widths,
    )  # fmt: skip
    try:
        with replaced_file(target) as temporary:
            temporary.write_bytes(content)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise ArtifactError(f"cannot write {target}: {error}") from error
    return target
