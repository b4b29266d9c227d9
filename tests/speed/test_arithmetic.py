"""Multiplications are counted as one would by hand, on the way back too, and in the lanes of a step."""

from __future__ import annotations

import torch

from discogp.engine.kernels import linear
from discogp.speed.arithmetic import multiplications
from discogp.speed.step import TWO_PLAIN_PASSES, measure


def test_of_products_by_hand() -> None:
    a, b, each = torch.ones(2, 3), torch.ones(3, 5), torch.ones(4, 2, 3)
    assert multiplications(lambda: a @ b) == 2 * 3 * 5
    assert multiplications(lambda: torch.addmm(torch.ones(5), a, b)) == 2 * 3 * 5
    assert multiplications(lambda: torch.bmm(each, b.expand(4, 3, 5))) == 4 * 2 * 3 * 5
    assert multiplications(lambda: torch.ones(4, 2, 5).baddbmm_(each, b.expand(4, 3, 5))) == 4 * 2 * 3 * 5
    with torch.no_grad():
        assert multiplications(lambda: linear(a, torch.ones(5, 3))) == 2 * 3 * 5
    assert multiplications(lambda: a + a) == 0


def test_the_way_back_counts() -> None:
    a, b = torch.ones(2, 3, requires_grad=True), torch.ones(3, 5, requires_grad=True)
    assert multiplications(lambda: (a @ b).sum().backward()) == 3 * (2 * 3 * 5)


def test_threads_are_as_before() -> None:
    before = torch.get_num_threads()
    multiplications(lambda: None)
    assert torch.get_num_threads() == before


def test_a_step_is_told_beside_its_yardstick() -> None:
    found = measure("small", 2, 6, 1, "cpu")
    assert found.yardstick.label == TWO_PLAIN_PASSES
    assert 1 < found.extra["ratio_of_multiplications"] < 4
    late = measure("small", 2, 6, 1, "cpu", undecided=0.1, kept=0.05)
    assert "ratio_of_multiplications" not in late.extra
