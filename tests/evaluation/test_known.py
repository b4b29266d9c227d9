"""What is computed batch by batch when it is first asked for."""

from __future__ import annotations

import numpy as np
import pytest

from discogp.evaluation.known import ByBatch, on_first
from discogp.evaluation.outcome import Outcome


def outcome(first: int, n: int) -> Outcome:
    of = np.arange(first, first + n)
    return Outcome(of % 2 == 0, of, of % 3 == 0, of.astype(np.float32), of.astype(np.float32))


def test_a_batch_is_made_once_and_only_when_it_is_asked_for() -> None:
    made: list[int] = []

    def make(index: int) -> int:
        made.append(index)
        return 10 * index

    batches = ByBatch(3, make)
    assert (batches[1], batches[1], len(batches)) == (10, 10, 3)
    assert made == [1]
    assert not batches.complete
    assert [batches[index] for index in range(3)] == [0, 10, 20]
    assert made == [1, 0, 2]
    assert batches.complete
    with pytest.raises(IndexError, match="no batch 3"):
        batches[3]


@pytest.mark.parametrize(("n", "expected"), [(0, 2), (1, 2), (2, 2), (3, 5), (5, 5), (6, 9), (99, 9)])
def test_the_first_prompts_come_in_whole_batches(n: int, expected: int) -> None:
    made: list[int] = []
    sizes, starts = [2, 3, 4], [0, 2, 5]

    def make(index: int) -> Outcome:
        made.append(index)
        return outcome(starts[index], sizes[index])

    found = on_first(ByBatch(3, make), sizes, n)
    assert found.top_token.tolist() == list(range(expected))
    assert sum(sizes[index] for index in made) == expected
