"""Pictures: SVG of our own, and PDF and PNG that CairoSVG makes from it."""

from __future__ import annotations

from discogp.drawing.svg import svg
from discogp.errors import ArtifactError
from discogp.export.base import Format, Wanted, register

MAX_PNG_PIXELS = 100_000_000
_READS_WELL = 250


def _svg(wanted: Wanted) -> bytes:
    return svg(wanted.view(), wanted.theme).text.encode("utf-8")


def _pdf(wanted: Wanted) -> bytes:
    return _from_svg(wanted, "pdf")


def _png(wanted: Wanted) -> bytes:
    return _from_svg(wanted, "png")


def _from_svg(wanted: Wanted, format: str) -> bytes:
    drawing, scale = svg(wanted.view(), wanted.theme), wanted.scale
    if not 0.1 <= scale <= 10 or drawing.width * drawing.height * scale**2 > MAX_PNG_PIXELS:
        raise ArtifactError(f"scale is {scale}; it must be from 0.1 to 10 and stay below {MAX_PNG_PIXELS:,} pixels")
    try:
        import cairosvg
    except (ImportError, OSError) as error:
        raise ArtifactError(
            f"{format} needs CairoSVG and the system library cairo (Debian: libcairo2): {error}. "
            f"svg and html need neither"
        ) from error
    source = drawing.text.encode("utf-8")
    made = (
        cairosvg.svg2pdf(bytestring=source) if format == "pdf" else cairosvg.svg2png(bytestring=source, scale=scale)  # type: ignore[arg-type]  # takes a float
    )
    if not made:
        raise ArtifactError(f"CairoSVG made no {format}")
    return made


register(Format("png", "PNG picture", "image/png", _READS_WELL, _png, place=0, draws=True))
register(Format("svg", "SVG drawing", "image/svg+xml", _READS_WELL, _svg, place=1, draws=True))
register(Format("pdf", "PDF page", "application/pdf", _READS_WELL, _pdf, place=2, draws=True))
