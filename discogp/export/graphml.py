"""GraphML, for Gephi, yEd, Cytoscape and networkx: a directed graph with parallel query, key and value edges.

Gephi shows the attribute `label` (and takes the keys d3 and d6 for one, so no key is called so); yEd shows only labels
of its own drawing, which are written as well. `Circuit.from_networkx(networkx.read_graphml(file))` opens it again.
"""

from __future__ import annotations

import json
from typing import Any
from xml.etree.ElementTree import Element, SubElement, register_namespace, tostring

from discogp.circuits.circuit import Circuit
from discogp.circuits.networks import EDGE_COLOURS, NODE_FILLS, NODE_LINES
from discogp.drawing.svg import printable
from discogp.drawing.view import GraphView, build_view
from discogp.export.base import Format, Wanted, register

_GRAPHML, _YED = "http://graphml.graphdrawing.org/xmlns", "http://www.yworks.com/xml/graphml"
_PLACE = {"x": "double", "y": "double"}
_NODE = {"label": "string", "kind": "string", "layer": "int", "head": "int", "color": "string", **_PLACE}
_EDGE = {"label": "string", "kind": "string", "rank": "int", "score": "double", "color": "string"}
_YED_STEP = 120.0


def graphml(circuit: Circuit, max_edges: int | None = None, facts: dict[str, str] | None = None) -> bytes:
    """The kept edges with `label`, `kind`, `score`, `rank` and the nodes that they touch with theirs, layer and head.

    An edge's id is its name, so that the query, key and value edges of two nodes stay three. The graph itself says the
    model's shape and the `facts`.
    """
    register_namespace("", _GRAPHML)
    register_namespace("y", _YED)
    view = build_view(circuit, max_edges)
    about = {**_about(circuit), **(facts or {})}
    root = Element(f"{{{_GRAPHML}}}graphml")
    for target, types in (("graph", dict.fromkeys(about, "string")), ("node", _NODE), ("edge", _EDGE)):
        for name, kind in types.items():
            key = {"id": f"{target}_{name.replace(' ', '_')}", "for": target, "attr.name": name, "attr.type": kind}
            SubElement(root, _tag("key"), key)
    for target in ("node", "edge"):
        SubElement(root, _tag("key"), {"id": f"{target}graphics", "for": target, "yfiles.type": f"{target}graphics"})
    graph = SubElement(root, _tag("graph"), {"edgedefault": "directed"})
    _data(graph, "graph", about)
    _nodes(graph, view)
    _edges(graph, view)
    return tostring(root, encoding="utf-8", xml_declaration=True)


def _about(circuit: Circuit) -> dict[str, str]:
    shape = {name: str(value) for name, value in circuit.graph.to_json().items()}
    return {**shape, "ablation": circuit.ablation, "searched": "edges", "score_kind": circuit.score_kind}


def _tag(name: str, space: str = _GRAPHML) -> str:
    return f"{{{space}}}{name}"


def _data(parent: Element, target: str, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if value is not None:
            data = SubElement(parent, _tag("data"), {"key": f"{target}_{name.replace(' ', '_')}"})
            data.text = printable(value if isinstance(value, str) else json.dumps(value))


def _nodes(graph: Element, view: GraphView) -> None:
    touched = {name for link in view.links for name in (link.source, link.target)}
    for node in view.nodes:
        if node.name not in touched:
            continue
        made = SubElement(graph, _tag("node"), {"id": node.name})
        shape = SubElement(SubElement(made, _tag("data"), {"key": "nodegraphics"}), _tag("ShapeNode", _YED))
        place = {"x": f"{_YED_STEP * node.x:z.1f}", "y": f"{-_YED_STEP * node.y:z.1f}", "width": "70", "height": "26"}
        SubElement(shape, _tag("Geometry", _YED), place)
        SubElement(shape, _tag("Fill", _YED), {"color": NODE_FILLS[node.kind]})
        SubElement(shape, _tag("BorderStyle", _YED), {"color": NODE_LINES[node.kind], "type": "line", "width": "1.0"})
        SubElement(shape, _tag("NodeLabel", _YED)).text = node.label
        values = {"label": node.label, "kind": node.kind, "layer": node.layer, "head": node.head}
        _data(made, "node", {**values, "color": NODE_FILLS[node.kind], "x": node.x, "y": node.y})


def _edges(graph: Element, view: GraphView) -> None:
    for link in view.links:
        colour = EDGE_COLOURS[link.kind]
        made = SubElement(graph, _tag("edge"), {"id": link.name, "source": link.source, "target": link.target})
        line = SubElement(SubElement(made, _tag("data"), {"key": "edgegraphics"}), _tag("PolyLineEdge", _YED))
        SubElement(line, _tag("LineStyle", _YED), {"color": colour, "type": "line", "width": f"{link.width:.1f}"})
        SubElement(line, _tag("Arrows", _YED), {"source": "none", "target": "standard"})
        SubElement(line, _tag("EdgeLabel", _YED)).text = link.name
        values = {"label": link.name, "kind": link.kind, "rank": link.rank, "score": link.score, "color": colour}
        _data(made, "edge", values)


def _wanted(wanted: Wanted) -> bytes:
    return graphml(wanted.left(), wanted.max_edges, wanted.facts)


register(Format("graphml", "Graph (GraphML)", "application/graphml+xml", None, _wanted, place=5))
