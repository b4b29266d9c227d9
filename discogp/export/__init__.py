"""Carry a circuit away: `svg`, `pdf`, `png`, a standalone interactive `html`, `json`, `graphml`.

Pictures are drawn from the same GraphView as the page. `json` and `graphml` hold data, all of it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from discogp.circuits.circuit import Circuit
from discogp.circuits.document import circuit_to_json
from discogp.drawing.palette import PALETTES, Theme
from discogp.drawing.standalone import standalone_html
from discogp.drawing.svg import svg
from discogp.drawing.view import build_view
from discogp.errors import ArtifactError
from discogp.export.graphml import graphml

# How many edges a format takes when nobody says: what still reads well, what a browser still moves, or all.
DEFAULT_EDGES = {"svg": 250, "pdf": 250, "png": 250, "html": 2000, "json": None, "graphml": None}
FORMATS = tuple(DEFAULT_EDGES)
MIME_TYPES = {
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "png": "image/png",
    "html": "text/html",
    "json": "application/json",
    "graphml": "application/graphml+xml",
}
MAX_PNG_PIXELS = 100_000_000


def render(
    circuit: Circuit,
    format: str,
    *,
    max_edges: int | None = None,
    off: Collection[str] = frozenset(),
    theme: Theme = "light",
    scale: float = 2.0,
    title: str | None = None,
) -> bytes:
    """The bytes of a file in one of FORMATS.

    `max_edges`: how many of the strongest edges; None for the format's default (DEFAULT_EDGES). `off`: names of
    edges and nodes that are switched off: pictures show them grey, `json` and `graphml` hold the circuit that
    is left. `scale`: pixels of a PNG for each pixel of the SVG. `json` always holds every kept edge.
    Raises ArtifactError for an unknown format, theme or size, and GraphError for an unknown name in `off`.
    """
    if format not in DEFAULT_EDGES:
        raise ArtifactError(f"unknown export format {format!r}; allowed: {', '.join(FORMATS)}")
    if theme not in PALETTES:
        raise ArtifactError(f"unknown theme {theme!r}; allowed: {', '.join(PALETTES)}")
    if max_edges is not None and max_edges < 0:
        raise ArtifactError(f"max_edges is {max_edges}; it must be 0 or more")
    most = DEFAULT_EDGES[format] if max_edges is None else max_edges
    if format == "json":
        return circuit_to_json(_left(circuit, off)).encode("utf-8")
    if format == "graphml":
        return graphml(_left(circuit, off), most)
    view = build_view(circuit, most, off, title=title)
    if format == "html":
        return standalone_html(view, theme).encode("utf-8")
    drawing = svg(view, theme)
    if format == "svg":
        return drawing.text.encode("utf-8")
    return _from_svg(drawing.text, format, scale, drawing.width * drawing.height)


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
    content = render(circuit, format, max_edges=max_edges, off=off, theme=theme, scale=scale, title=title)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, target)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        with suppress(OSError, ValueError):
            temporary.unlink()
        raise ArtifactError(f"cannot write {target}: {error}") from error
    return target


def _left(circuit: Circuit, off: Collection[str]) -> Circuit:
    if not off:
        return circuit
    provenance = {**circuit.provenance, "switched_off": sorted(off)}
    return replace(circuit.without(off), provenance=provenance)


def _from_svg(text: str, format: str, scale: float, pixels: float) -> bytes:
    if not 0.1 <= scale <= 10 or pixels * scale**2 > MAX_PNG_PIXELS:
        raise ArtifactError(f"scale is {scale}; it must be from 0.1 to 10 and stay below {MAX_PNG_PIXELS:,} pixels")
    try:
        import cairosvg
    except (ImportError, OSError) as error:
        raise ArtifactError(
            f"{format} needs CairoSVG and the system library cairo (Debian: libcairo2): {error}. "
            f"svg and html need neither"
        ) from error
    source = text.encode("utf-8")
    made = (
        cairosvg.svg2pdf(bytestring=source) if format == "pdf" else cairosvg.svg2png(bytestring=source, scale=scale)  # type: ignore[arg-type]  # takes a float
    )
    if not made:
        raise ArtifactError(f"CairoSVG made no {format}")
    return made
