"""Words, colours and curves of the drawing: one place for the page, the standalone HTML, SVG, PDF and PNG."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

from discogp.circuits.networks import EDGE_COLOURS, NODE_FILLS, NODE_LINES

Theme = Literal["light", "dark"]


# Okabe and Ito's colours, darkened on white and lightened on black until lines one pixel wide can be told apart
# by readers with any colour vision. `off` is the grey of what was switched off.
PALETTES = MappingProxyType(
    {
        "light": {
            "background": "#ffffff",
            "text": "#1c1e21",
            "dim": "#6b7280",
            "rule": "#edeff2",
            "off": "#b4b8be",
            "edges": dict(EDGE_COLOURS),
            "nodes": {kind: {"fill": NODE_FILLS[kind], "line": NODE_LINES[kind]} for kind in NODE_FILLS},
            "accent": "#D1402F",
        },
        "dark": {
            "background": "#0e1117",
            "text": "#f0f2f6",
            "dim": "#8b93a1",
            "rule": "#1b212c",
            "off": "#515762",
            "edges": {"q": "#56B4E9", "k": "#F2B134", "v": "#3DD6A3", "mlp": "#E793C6", "logits": "#B4BAC6"},
            "nodes": {
                "input": {"fill": "#232833", "line": "#B4BAC6"},
                "head": {"fill": "#1A2840", "line": "#7FA6DA"},
                "mlp": {"fill": "#3A2134", "line": "#E793C6"},
                "logits": {"fill": "#232833", "line": "#B4BAC6"},
            },
            "accent": "#FF7A66",
        },
    }
)

# How far curves of each kind lie apart, so that the query, key and value edges of one pair of nodes can be told
# apart and hit: the pull of a vertical Bézier curve as a share of its height, and the sideways reach of an edge
# within a column, in rows, for an edge one row long (it grows with the root of the length).
PULL = MappingProxyType({"q": 0.30, "k": 0.46, "v": 0.62, "mlp": 0.44, "logits": 0.44})
REACH = MappingProxyType({"q": 0.11, "k": 0.21, "v": 0.31, "mlp": 0.17, "logits": 0.17})
