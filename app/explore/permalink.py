"""Toggles in the address of the page: a bitset over the graph's edges, then its nodes, deflated, as base64url.

Twelve of two thousand edges take about seventy characters. What comes in is from outside: its size is
bounded before it is inflated, and whatever is no such bitset is refused with a reason.
"""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np

from app.explore.toggles import Toggles
from discogp.circuits.graph import ComputationGraph
from discogp.errors import DiscoGPError

_LONGEST = 16_384  # characters


class LinkError(DiscoGPError):
    """An address whose toggles cannot be read, or belong to another graph."""


def encode(toggles: Toggles, graph: ComputationGraph) -> str:
    """URL-safe text; empty when nothing is off."""
    if not toggles:
        return ""
    bits = np.zeros(_length(graph), dtype=bool)
    bits[[graph.index(name) for name in toggles.edges]] = True
    names = {node.name: place for place, node in enumerate(graph.nodes, start=graph.n_edges)}
    bits[[names[name] for name in toggles.nodes]] = True
    packed = zlib.compress(np.packbits(bits).tobytes(), 9)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode("ascii")


def decode(text: str, graph: ComputationGraph) -> Toggles:
    """The toggles of a text made by `encode` for a graph of this shape; LinkError for anything else."""
    if not text:
        return Toggles()
    if len(text) > _LONGEST:
        raise LinkError(f"the link's list of switched-off edges is {len(text)} characters long; at most {_LONGEST}")
    n_bytes = -(-_length(graph) // 8)
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        inflater = zlib.decompressobj()
        raw = inflater.decompress(packed, n_bytes + 1)
        whole = inflater.eof and not inflater.unused_data
    except (binascii.Error, ValueError, zlib.error):
        raise LinkError("the link's list of switched-off edges is damaged; it was ignored") from None
    if not whole or len(raw) != n_bytes:
        raise LinkError("the link's list of switched-off edges belongs to another model's graph; it was ignored")
    bits = np.unpackbits(np.frombuffer(raw, dtype=np.uint8), count=_length(graph)).astype(bool)
    edges = (edge.name for edge in graph.edges_at(np.flatnonzero(bits[: graph.n_edges])))
    nodes = (graph.nodes[i].name for i in np.flatnonzero(bits[graph.n_edges :]))
    return Toggles.of(edges, nodes)


def _length(graph: ComputationGraph) -> int:
    return graph.n_edges + len(graph.nodes)
