"""GraphView -> SVG: the page's drawing for print, with title, numbers and legend.

The curves and widths follow `discogp/frontend/circuit_graph.js`. Only elements and attributes that CairoSVG
draws as well are used, since PDF and PNG come from this text; so no `dominant-baseline`, no CSS.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from discogp.circuits.describe import KIND_LABELS, PART_LABELS
from discogp.drawing.palette import PALETTES, Theme
from discogp.drawing.view import GraphView, ViewLink, ViewNode

MONO = "'DejaVu Sans Mono', Menlo, Consolas, monospace"
SANS = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"
FONT = 13.0
NODE_HEIGHT = 23.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 30.0, 112.0, 64.0
_LINE, _SMALL, _MOST_LINES_OF_A_NOTE = 16.0, 10.5, 6
_ORIGINAL = ("original", "original_complement")
# XML 1.0 has no place for these, escaped or not; a model's name or a task may hold them.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Drawing:
    """The SVG's text and its size in pixels."""

    text: str
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class _Frame:
    """Grid units to pixels: y turns over, since SVG's grows downwards."""

    step_x: float
    step_y: float
    left: float
    bottom: float
    node_width: float

    def at(self, node: ViewNode) -> tuple[float, float]:
        return self.left + node.x * self.step_x, self.row(node.y)

    def row(self, y: float) -> float:
        return self.bottom - (y + 1) * self.step_y


def svg(view: GraphView, theme: Theme = "light") -> Drawing:
    """Draw the view; strongest links on top, nodes above links."""
    palette = PALETTES[theme]
    node_width = max(len(node.label) for node in view.nodes) * FONT * 0.61 + 14
    step_x = min(150.0, max(node_width + 12, 980 / max(view.width, 1)))
    step_y = min(86.0, max(NODE_HEIGHT + 11, 560 / max(view.height, 1)))
    inner = max(view.width * step_x + node_width, 560.0)
    width = LEFT + inner + RIGHT
    numbers, notes = metrics_lines(view), _wrapped(view.notes, width - 2 * 24)
    top = TOP + _LINE * max(0, len(numbers) - 1)
    legend = top + view.height * step_y + NODE_HEIGHT + BOTTOM
    height = legend + (_LINE * len(notes) + 4 if notes else 0)
    frame = _Frame(
        step_x,
        step_y,
        LEFT + (inner - view.width * step_x) / 2,
        top + NODE_HEIGHT / 2 + view.height * step_y,
        node_width,
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img">',
        f"<title>{_text(view.title)}</title>",
        f"<desc>{_text(chr(10).join((view.subtitle, *numbers, *view.notes)))}</desc>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="{palette["background"]}"/>',
        *_heading(view, numbers, palette, width),
        *_rows(view, palette, frame, width),
        '<g fill="none" stroke-linecap="round">',
        *(_link(view, link, palette, frame) for link in reversed(view.links)),
        "</g>",
        *(_node(view, node, palette, frame) for node in view.nodes),
        *_legend(view, palette, legend),
        *(_label(24, legend + _LINE * n, line, _SMALL, palette["dim"]) for n, line in enumerate(notes)),
        "</svg>",
    ]
    return Drawing("\n".join(parts) + "\n", width, height)


def printable(text: str) -> str:
    """The text with what XML has no place for replaced."""
    return _NOT_XML.sub("\ufffd", text)


def _text(value: str) -> str:
    return escape(printable(value))


def _label(x: float, y: float, text: str, size: float, fill: str, **rest: Any) -> str:
    attributes = "".join(f' {name.replace("_", "-")}="{escape(str(value))}"' for name, value in rest.items())
    family = "" if "font_family" in rest else f' font-family="{SANS}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{fill}"{family}{attributes}>{_text(text)}</text>'


def _fitting(text: str, width: float, size: float) -> str:
    most = max(8, int(width / (size * 0.56)))
    return text if len(text) <= most else text[: most - 1] + "…"


def _wrapped(notes: Sequence[str], width: float) -> list[str]:
    """Lines that fit; of a very long note the beginning (`<desc>` has all of it)."""
    most = max(20, int(width / (_SMALL * 0.53)))
    lines = []
    for note in notes:
        found = textwrap.wrap(note, most, subsequent_indent="    ", max_lines=_MOST_LINES_OF_A_NOTE, placeholder=" …")
        lines += found or [""]
    return lines


def _heading(view: GraphView, numbers: Sequence[str], palette: dict[str, Any], width: float) -> list[str]:
    room = width - 2 * 24
    lines = [
        _label(24, 40, _fitting(view.title, room, 21), 21, palette["text"], font_weight="bold"),
        _label(24, 63, _fitting(view.subtitle, room, 13), 13, palette["dim"]),
    ]
    return lines + [
        _label(24, 83 + _LINE * n, _fitting(line, room, 13), 13, palette["dim"]) for n, line in enumerate(numbers)
    ]


def metrics_lines(view: GraphView) -> list[str]:
    """`accuracy: full model 0.98, circuit 0.95, complement 0.49 · KL 1.4 nats`; the original's in a line of its own."""
    lines = []
    for parts, kl_of in ((("full", "circuit", "complement", "edited"), ("circuit", "edited")), (_ORIGINAL, _ORIGINAL)):
        rows = [(part, numbers) for part, numbers in view.metrics if part in parts]
        accuracies = [f"{PART_LABELS[part]} {n['accuracy']:z.3f}" for part, n in rows if "accuracy" in n]
        line = [f"accuracy: {', '.join(accuracies)}"] if accuracies else []
        line += [f"KL {n['kl']:z.3g} nats" for part, n in rows if part in kl_of[:2] and "kl" in n][:1]
        lines += [" · ".join(line)] if line else []
    return lines


def _rows(view: GraphView, palette: dict[str, Any], frame: _Frame, width: float) -> list[str]:
    lines = []
    for y, label in view.rows:
        at = frame.row(y)
        lines.append(f'<path d="M{LEFT - 8:.1f} {at:.1f}H{width - RIGHT:.1f}" stroke="{palette["rule"]}"/>')
        lines.append(_label(24, at + 4, label, 11, palette["dim"], font_family=MONO))
    return lines


def _link(view: GraphView, link: ViewLink, palette: dict[str, Any], frame: _Frame) -> str:
    off = view.is_off(link)
    crowd = min(1.0, max(0.0, math.log10(max(len(view.links), 1) / 40) / 1.7))
    opacity = 0.6 if off else 0.5 - 0.4 * crowd + (0.45 + 0.3 * crowd) * link.strength
    width = 0.7 if off else (0.9 - 0.4 * crowd) + (3.1 - 0.6 * crowd) * link.strength
    colour = palette["off"] if off else palette["edges"][link.kind]
    score = "" if link.score is None else f", score {link.score:z.4g}"
    score += "" if link.value is None else f", {view.widths_show} {link.value:z.4g}"
    title = f"{link.name}{score}, rank {link.rank}{', off' if off else ''}"
    return (
        f'<path d="{_curve(view, link, frame)}" stroke="{colour}" stroke-opacity="{opacity:.2f}" '
        f'stroke-width="{width:.2f}"><title>{_text(title)}</title></path>'
    )


def _curve(view: GraphView, link: ViewLink, frame: _Frame) -> str:
    x0, y0 = frame.at(view.node_by_name[link.source])
    x1, y1 = frame.at(view.node_by_name[link.target])
    if not link.same_column:
        pull = link.roundness * (y0 - y1)
        return f"M{x0:.1f} {y0:.1f}C{x0:.1f} {y0 - pull:.1f} {x1:.1f} {y1 + pull:.1f} {x1:.1f} {y1:.1f}"
    # vis-network's `curvedCW`: one control point, turned from the straight line by the roundness.
    bend = 0.5 * link.roundness + 0.5
    length = math.hypot(x1 - x0, y0 - y1)
    angle = math.atan2(y0 - y1, x1 - x0) + bend * math.pi
    via_x, via_y = x0 + bend * length * math.sin(angle), y0 + bend * length * math.cos(angle)
    return f"M{x0:.1f} {y0:.1f}Q{via_x:.1f} {via_y:.1f} {x1:.1f} {y1:.1f}"


def _node(view: GraphView, node: ViewNode, palette: dict[str, Any], frame: _Frame) -> str:
    x, y = frame.at(node)
    off = node.name in view.off_nodes
    width = max(len(node.label) * FONT * 0.61 + 14, 34)
    colours = palette["nodes"][node.kind]
    fill, line = (palette["background"], palette["off"]) if off else (colours["fill"], colours["line"])
    dashes = ' stroke-dasharray="4 3"' if off else ""
    radius = 9 if node.kind == "head" else 3
    title = f"{node.name}: {node.n_in} of {node.of_in} edges in, {node.n_out} of {node.of_out} out"
    return (
        f'<g><title>{_text(title)}</title><rect x="{x - width / 2:.1f}" y="{y - NODE_HEIGHT / 2:.1f}" '
        f'width="{width:.1f}" height="{NODE_HEIGHT:.0f}" rx="{radius}" fill="{fill}" stroke="{line}" '
        f'stroke-width="1.3"{dashes}/>'
        + _label(
            x,
            y + FONT * 0.35,
            node.label,
            FONT,
            palette["off"] if off else palette["text"],
            text_anchor="middle",
            font_family=MONO,
        )
        + "</g>"
    )


def _legend(view: GraphView, palette: dict[str, Any], height: float) -> list[str]:
    counts = {kind: sum(link.kind == kind for link in view.links) for kind in KIND_LABELS}
    n_off = sum(view.is_off(link) for link in view.links)
    entries = [
        (palette["edges"][kind], f"{label} ({counts[kind]:,})") for kind, label in KIND_LABELS.items() if counts[kind]
    ]
    if n_off:
        entries.append((palette["off"], f"off ({n_off:,})"))
    x, y = 24.0, height - 26
    parts = []
    for colour, text in entries:
        parts.append(f'<path d="M{x:.1f} {y:.1f}h22" stroke="{colour}" stroke-width="3"/>')
        parts.append(_label(x + 29, y + 4, text, 12, palette["text"]))
        x += 29 + len(text) * 6.6 + 18
    return parts
