"""The list of faults fits the code: it is read here, and run by `python -m tests.mutation` only."""

from __future__ import annotations

import pytest

from tests.mutation.faults import FAULTS, Fault
from tests.places import ROOT

ROOMS = ("engine", "methods/discogp", "search", "evaluation", "tasks", "circuits")


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{i}-{fault.file}" for i, fault in enumerate(FAULTS)])
def test_a_fault_names_one_place_and_tests_there_are(fault: Fault) -> None:
    text = (ROOT / fault.file).read_text(encoding="utf-8")
    assert text.count(fault.before) == 1
    assert "\n" not in fault.before + fault.after, "a fault is one line"
    assert fault.before != fault.after
    compile(text.replace(fault.before, fault.after), fault.file, "exec")
    assert fault.why
    assert fault.tests
    for test in fault.tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).exists(), test
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_the_list_is_long_and_covers_every_room() -> None:
    assert len(FAULTS) >= 64
    assert len({(fault.file, fault.before, fault.after) for fault in FAULTS}) == len(FAULTS)
    for room in ROOMS:
        assert sum(fault.file.startswith(f"discogp/{room}/") for fault in FAULTS) >= 4, room
