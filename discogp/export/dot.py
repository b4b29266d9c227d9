"""DOT, for Graphviz: heads and MLPs of a layer side by side, input below, logits above."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from discogp.circuits.networks import EDGE_COLOURS, NODE_FILLS, NODE_LINES
from discogp.drawing.svg import printable
from discogp.drawing.view import GraphView, build_view
from discogp.export.base import Format, Wanted, register


def _dot(wanted: Wanted) -> bytes:
    view = build_view(wanted.left(), wanted.max_edges, title=wanted.title)
    text = "\n".join([*_comments(wanted.facts), "digraph circuit {", *_body(view, wanted), "}"]) + "\n"
    return text.encode("utf-8", "replace")


def _comments(facts: Mapping[str, str]) -> list[str]:
    return [f"// {name}: {printable(text)}" for name, text in facts.items()]


def _body(view: GraphView, wanted: Wanted) -> Iterator[str]:
    title = view.title + (" · edited" if wanted.off else "")
    look = {"label": title, "rankdir": "BT", "fontname": "Helvetica", "tooltip": view.subtitle}
    yield f"  graph [{_attributes(look)}];"
    yield '  node [shape=box, style="filled,rounded", fontname="Helvetica"];'
    touched = {name for link in view.links for name in (link.source, link.target)}
    layers: dict[int, list[str]] = {}
    for node in view.nodes:
        if node.name in touched:
            look = {"label": node.label, "fillcolor": NODE_FILLS[node.kind], "color": NODE_LINES[node.kind]}
            yield f"  {_quoted(node.name)} [{_attributes(look)}];"
            if node.kind == "head":
                layers.setdefault(node.layer, []).append(_quoted(node.name))
    for names in layers.values():
        yield f"  {{ rank=same; {'; '.join(names)} }}"
    for link in view.links:
        score = {} if link.score is None else {"score": str(link.score)}
        line = {"color": EDGE_COLOURS[link.kind], "penwidth": f"{link.width:.2f}"}
        look = {"id": link.name, "tooltip": link.name, **line, "kind": link.kind, **score}
        yield f"  {_quoted(link.source)} -> {_quoted(link.target)} [{_attributes(look)}];"


def _attributes(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_quoted(str(value))}" for name, value in values.items())


def _quoted(text: str) -> str:
    """A string of DOT: a backslash would begin an escape there, a quote end it."""
    plain = " ".join(printable(text).split())
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


register(Format("dot", "Graph (DOT, Graphviz)", "text/vnd.graphviz", None, _dot, place=7))
