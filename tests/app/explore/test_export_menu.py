"""A picture taken on the page shows by its widths what the page shows."""

from __future__ import annotations

import pytest

from app.explore.export_menu import _make
from app.explore.toggles import History
from app.loader import Loader
from discogp.circuits.artifact import load_circuit
from discogp.drawing.view import WIDTHS
from discogp.paths import assets

EXAMPLE = assets() / "examples" / "mini-ioi-edges"


@pytest.mark.parametrize("by_effect", [False, True])
def test_widths_are_those_of_the_page(by_effect: bool) -> None:
    circuit = load_circuit(EXAMPLE)
    workbench = Loader().workbench("key", circuit)
    workbench.result(120).survey.estimates = workbench.result().session.first_order().by_name
    made = _make(circuit, History(by_effect=by_effect), workbench, "c", "svg").decode()
    assert (f"line width: {WIDTHS['estimate']}" in made) == by_effect
    assert ("--widths estimate" in made) == by_effect
