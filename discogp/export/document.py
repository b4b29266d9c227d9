"""The circuit's own JSON: always every kept edge."""

from __future__ import annotations

from discogp.circuits.document import circuit_to_json
from discogp.export.base import Format, Wanted, register


def _json(wanted: Wanted) -> bytes:
    return circuit_to_json(wanted.left()).encode("utf-8")


register(Format("json", "Circuit (JSON)", "application/json", None, _json, place=4))
