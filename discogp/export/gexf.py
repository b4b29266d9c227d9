"""GEXF, Gephi's own: labels, places, colours, and parallel query, key and value edges as three (by their `kind`)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, SubElement, register_namespace, tostring

from discogp.circuits.networks import EDGE_COLOURS, NODE_LINES
from discogp.drawing.svg import printable
from discogp.drawing.view import GraphView, build_view
from discogp.export.base import Format, Wanted, register

_GEXF, _VIZ = "http://gexf.net/1.3", "http://gexf.net/1.3/viz"
_NODE = {"kind": "string", "layer": "integer", "head": "integer"}
_EDGE = {"part": "string", "rank": "integer", "score": "double"}
_STEP = 100.0


def _gexf(wanted: Wanted) -> bytes:
    register_namespace("", _GEXF)
    register_namespace("viz", _VIZ)
    view = build_view(wanted.left(), wanted.max_edges)
    root = Element(_tag("gexf"), {"version": "1.3"})
    meta = SubElement(root, _tag("meta"), {"lastmodifieddate": datetime.now(UTC).date().isoformat()})
    SubElement(meta, _tag("creator")).text = wanted.facts["version"]
    SubElement(meta, _tag("title")).text = printable(view.title)
    SubElement(meta, _tag("description")).text = printable("; ".join(f"{k}: {v}" for k, v in wanted.facts.items()))
    graph = SubElement(root, _tag("graph"), {"defaultedgetype": "directed", "mode": "static"})
    for target, types in (("node", _NODE), ("edge", _EDGE)):
        attributes = SubElement(graph, _tag("attributes"), {"class": target})
        for name, kind in types.items():
            SubElement(attributes, _tag("attribute"), {"id": f"{target}_{name}", "title": name, "type": kind})
    _nodes(SubElement(graph, _tag("nodes")), view)
    _edges(SubElement(graph, _tag("edges")), view)
    return tostring(root, encoding="utf-8", xml_declaration=True)


def _tag(name: str, space: str = _GEXF) -> str:
    return f"{{{space}}}{name}"


def _values(parent: Element, target: str, values: dict[str, Any]) -> None:
    made = SubElement(parent, _tag("attvalues"))
    for name, value in values.items():
        if value is not None:
            SubElement(made, _tag("attvalue"), {"for": f"{target}_{name}", "value": str(value)})


def _colour(parent: Element, colour: str) -> None:
    parts = {name: str(int(colour[at : at + 2], 16)) for name, at in (("r", 1), ("g", 3), ("b", 5))}
    SubElement(parent, _tag("color", _VIZ), parts)


def _nodes(parent: Element, view: GraphView) -> None:
    touched = {name for link in view.links for name in (link.source, link.target)}
    for node in view.nodes:
        if node.name in touched:
            made = SubElement(parent, _tag("node"), {"id": node.name, "label": node.label})
            _values(made, "node", {"kind": node.kind, "layer": node.layer, "head": node.head})
            _colour(made, NODE_LINES[node.kind])
            place = {"x": f"{_STEP * node.x:z.1f}", "y": f"{_STEP * node.y:z.1f}", "z": "0"}
            SubElement(made, _tag("position", _VIZ), place)


def _edges(parent: Element, view: GraphView) -> None:
    for link in view.links:
        ends = {"id": link.name, "source": link.source, "target": link.target}
        # Weights are sizes there; the score with its sign is an attribute.
        more = {"label": link.name, "kind": link.kind, "weight": str(abs(link.score)) if link.score else "1"}
        made = SubElement(parent, _tag("edge"), {**ends, **more})
        _values(made, "edge", {"part": link.kind, "rank": link.rank, "score": link.score})
        _colour(made, EDGE_COLOURS[link.kind])


register(Format("gexf", "Graph (GEXF, Gephi)", "application/gexf+xml", None, _gexf, place=6))
