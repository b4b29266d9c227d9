"""What stands ready behind the page: figures that are computed, or saved ones that are those computed here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.loader import Loader
from discogp.circuits.artifact import load_circuit
from discogp.circuits.circuit import Circuit
from discogp.evaluation.session import AblationSession
from discogp.paths import assets


def with_metrics(circuit: Circuit, **changed: float) -> Circuit:
    metrics = circuit.provenance["metrics"]
    other = {**metrics, "circuit": {**metrics["circuit"], **changed}}
    return replace(circuit, provenance={**circuit.provenance, "metrics": other})


@pytest.mark.parametrize(
    ("change", "computed"), [({}, False), ({"kl": 0.5}, True), ({"n": 7}, True), ({"accuracy": "0.9"}, True)]
)
def test_a_complement_is_computed_only_where_the_saved_figures_are_others(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, float], computed: bool
) -> None:
    circuit = load_circuit(assets() / "examples" / "mini-ioi-edges")
    found = circuit.provenance["metrics"]["complement"]["accuracy"]
    asked: list[int] = []
    real = AblationSession.complement.func  # type: ignore[attr-defined]  # a cached property's function

    def counted(session: AblationSession) -> Any:
        asked.append(1)
        return real(session)

    monkeypatch.setattr(AblationSession, "complement", property(counted))
    workbench = Loader().workbench("key", with_metrics(circuit, **change)).result()
    assert workbench.complement["accuracy"] == pytest.approx(found, abs=1e-3)
    assert bool(asked) == computed
