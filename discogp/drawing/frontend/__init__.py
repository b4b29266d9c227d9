"""The graph renderer's files: our own JavaScript, CSS and HTML, and vis-network from the pyvis package.

Shared by the app's component and the standalone HTML export. Nothing here touches the network.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from discogp.errors import ArtifactError

FOLDER = Path(__file__).parent
VIS_VERSION = "9.1.2"


@cache
def vis_network() -> str:
    """The source of vis-network (MIT or Apache 2.0; its licence notice is its first comment)."""
    spec = find_spec("pyvis")
    if spec is None or spec.origin is None:
        raise ArtifactError("the graph needs the package pyvis, which carries vis-network: pip install pyvis")
    path = Path(spec.origin).parent / "lib" / f"vis-{VIS_VERSION}" / "vis-network.min.js"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ArtifactError(f"this pyvis has no vis-network {VIS_VERSION}: pip install pyvis==0.3.2") from error


def javascript() -> str:
    """Our renderer: an ES module whose default export mounts or updates one graph."""
    return (FOLDER / "circuit_graph.js").read_text(encoding="utf-8")


def css() -> str:
    return (FOLDER / "circuit_graph.css").read_text(encoding="utf-8")


def html() -> str:
    return (FOLDER / "circuit_graph.html").read_text(encoding="utf-8")
