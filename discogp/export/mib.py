"""MIB / EAP-IG's JSON of every edge, with scores and flags, as MIB's scorer and `Graph.from_json` take it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from discogp.circuits.circuit import Circuit
from discogp.circuits.foreign.mib import mib_document
from discogp.export.base import Format, Wanted, register
from discogp.models.registry import find


def _mib(wanted: Wanted) -> bytes:
    left = wanted.left()
    d_model = width(left)
    note = {} if d_model else {"d_model": "unknown, so written as 1; EAP-IG needs it for circuits of neurons only"}
    return mib_document(left, d_model or 1, {**wanted.facts, **note}).encode("utf-8", "replace")


def width(circuit: Circuit) -> int | None:
    """The model's width, which their files say: as stored with the circuit or its file, or that of a known model."""
    made = circuit.provenance
    origin = made.get("imported_from")
    cfg = origin.get("cfg") if isinstance(origin, Mapping) else None
    for place in (made, cfg if isinstance(cfg, Mapping) else {}):
        size = place.get("d_model")
        if isinstance(size, int) and not isinstance(size, bool) and size > 1:
            return size
    known = find(str(made.get("model")))
    folder = known.folder() if known else None
    if folder is None or not (folder / "config.json").is_file():
        return None
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config.get("hidden_size", config.get("n_embd"))


register(Format("mib", "Circuit (MIB / EAP-IG JSON)", "application/json", None, _mib, place=8, ending="json"))
