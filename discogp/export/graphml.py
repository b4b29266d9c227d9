"""GraphML, for Gephi, yEd, Cytoscape and networkx: a directed graph with parallel query, key and value edges."""

from __future__ import annotations

from xml.etree import ElementTree

import networkx as nx
from networkx.readwrite.graphml import GraphMLWriter

from discogp.circuits.circuit import Circuit
from discogp.drawing.view import build_view
from discogp.export.base import Format, Wanted, register


def graphml(circuit: Circuit, max_edges: int | None = None) -> bytes:
    """The kept edges with `kind`, `score`, `rank` and the nodes that they touch with `kind`, `layer`, `head`.

    An edge's id is its name, so that the query, key and value edges of two nodes stay three edges.
    """
    view = build_view(circuit, max_edges)
    graph = nx.MultiDiGraph()
    touched = {name for link in view.links for name in (link.source, link.target)}
    for node in view.nodes:
        if node.name in touched:
            place = {"x": node.x, "y": node.y} | ({} if node.head is None else {"head": node.head})
            graph.add_node(node.name, kind=node.kind, layer=node.layer, **place)
    for link in view.links:
        score = {} if link.score is None else {"score": link.score}
        graph.add_edge(link.source, link.target, key=link.name, kind=link.kind, rank=link.rank, **score)
    # Not nx.write_graphml: it writes in pieces, three times slower, and by another library where lxml is installed.
    writer = GraphMLWriter(graph=graph, encoding="utf-8")
    return ElementTree.tostring(writer.xml, encoding="utf-8", xml_declaration=True)


def _wanted(wanted: Wanted) -> bytes:
    return graphml(wanted.left(), wanted.max_edges)


register(Format("graphml", "Graph (GraphML)", "application/graphml+xml", None, _wanted, place=5))
