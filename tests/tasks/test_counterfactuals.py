"""Which other item becomes an item's counterfactual: as long, with one of its wrong answers right, and most alike."""

from __future__ import annotations

import torch

from discogp.tasks import Example, Prompts
from discogp.tasks.counterfactuals import paired


def prompts(rows: list[tuple[list[int], list[int], list[int]]]) -> Prompts:
    """(tokens, right, wrong) of each."""

    def padded(lists: list[list[int]], fill: int) -> torch.Tensor:
        width = max(map(len, lists))
        return torch.tensor([[*row, *[fill] * (width - len(row))] for row in lists])

    tokens, right, wrong = zip(*rows, strict=True)
    examples = tuple(Example(f"{i}", None, (" a",), (" b",)) for i in range(len(rows)))
    lengths = torch.tensor([len(row) for row in tokens])
    return Prompts(padded(list(tokens), 0), lengths, None, padded(list(right), -1), padded(list(wrong), -1), examples)


def test_the_most_alike_of_those_with_another_answer() -> None:
    found, alone = paired(
        prompts([([1, 2, 3], [50], [51]), ([1, 9, 9], [51], [50]), ([1, 2, 9], [51], [50]), ([8, 8, 8], [51], [50])])
    )
    assert alone == []
    assert found.counterfactual is not None
    assert found.counterfactual.tolist() == [[1, 2, 9], [1, 2, 3], [1, 2, 3], [1, 2, 3]]


def test_one_that_shares_a_right_answer_is_none() -> None:
    """The second's wrong answer is right for the first, and so is its right one."""
    found, alone = paired(prompts([([1, 2], [50, 51], [52]), ([1, 3], [50], [51]), ([7, 8], [51], [50])]))
    assert alone == [0]
    assert found.counterfactual is not None
    assert found.counterfactual.tolist() == [[1, 2], [7, 8], [1, 3]]


def test_others_of_another_length_or_with_nothing_to_do_with_it_are_none() -> None:
    found, alone = paired(prompts([([1, 2], [50], [51]), ([1, 2, 3], [51], [50]), ([1, 4], [60, -1], [61, -1])]))
    assert alone == [0, 1, 2]
    assert found.counterfactual is not None
    assert found.counterfactual.tolist() == found.tokens.tolist()
