"""Prompts with answers of several tokens, by hand: which rows go through a model, and what each of them predicts."""

from __future__ import annotations

import pytest
import torch

from discogp.errors import TaskError
from discogp.search.identity import _checksum
from discogp.tasks import Example, paired
from discogp.tasks.encoded import Prompts, Row


def example(name: str) -> Example:
    return Example(name, None, (" a",), (" b",))


# [7 8] goes on as 1 2, 1 3 5 or 4; wrong are 1 2 9 and 4 4. [6] is right with 1 2 and wrong with 3.
ROWS = [
    Row(example("x"), [7, 8], [8, 7], [[1, 2], [1, 3, 5], [4]], [[1, 2, 9], [4, 4]]),
    Row(example("y"), [6], [5], [[1, 2]], [[3]]),
    Row(example("z"), [9, 9, 9], [2, 2, 2], [[2], [3]], [[4]]),
]
TEXTS = [[7, 8], [6], [9, 9, 9], [7, 8, 1], [7, 8, 1, 3], [7, 8, 1, 2], [7, 8, 4], [6, 1]]
# Candidates: three right ones, then two wrong ones.
PREDICTED = [
    [1, 1, 4, 1, 4], [1, -1, -1, 3, -1], [2, 3, -1, 4, -1],
    [2, 3, -1, 2, -1], [-1, 5, -1, -1, -1], [-1, -1, -1, 9, -1], [-1, -1, -1, -1, 4], [2, -1, -1, -1, -1],
]  # fmt: skip


def texts(prompts: Prompts) -> list[list[int]]:
    return [row[:length].tolist() for row, length in zip(prompts.tokens, prompts.lengths.tolist(), strict=True)]


def test_a_prompt_is_a_row_and_so_is_every_beginning_of_its_answers_once() -> None:
    prompts = Prompts.of(ROWS, padding=50)
    assert texts(prompts) == TEXTS
    assert prompts.steps is not None
    assert prompts.steps.ids.tolist() == PREDICTED
    assert prompts.steps.extra == (4, 1, 0)
    assert prompts.steps.table().tolist() == [[0, 3, 4, 5, 6], [1, 7, -1, -1, -1], [2, -1, -1, -1, -1]]
    assert prompts.tokens[1].tolist() == [6, 50, 50, 50]
    assert (len(prompts), prompts.n_rows, prompts.tokens.shape) == (3, 8, (8, 4))
    assert prompts.last.tolist() == [1, 0, 2, 2, 3, 3, 2, 1]
    assert [prompts.answers(i, "correct") for i in range(3)] == [row.correct for row in ROWS]
    assert [prompts.answers(i, "wrong") for i in range(3)] == [row.wrong for row in ROWS]
    other = prompts.counterfactual
    assert other is not None
    assert [row[:n].tolist() for row, n in zip(other, prompts.lengths.tolist(), strict=True)] == [
        [8, 7], [5], [2, 2, 2], [8, 7, 1], [8, 7, 1, 3], [8, 7, 1, 2], [8, 7, 4], [5, 1],
    ]  # fmt: skip
    without = [Row(row.example, row.prompt, None, row.correct, row.wrong) for row in ROWS[:1]]
    assert Prompts.of([*without, *ROWS[1:]]).counterfactual is None


def test_answers_of_one_token_make_the_tensors_that_they_always_made() -> None:
    rows = [
        Row(example(f"{i}"), [0, i, *[9] * (i % 2)], None, [[i + 2], [i + 3]][: 1 + i % 2], [[i + 40]])
        for i in range(1, 6)
    ]
    found = Prompts.of(rows, padding=0)
    assert (found.steps, found.n_rows, found.counterfactual) == (None, 5, None)
    assert found.tokens.tolist() == [[0, 1, 9], [0, 2, 0], [0, 3, 9], [0, 4, 0], [0, 5, 9]]
    assert found.lengths.tolist() == [3, 2, 3, 2, 3]
    assert found.correct.tolist() == [[3, 4], [4, -1], [5, 6], [6, -1], [7, 8]]
    assert found.wrong.tolist() == [[41], [42], [43], [44], [45]]
    assert {tensor.dtype for tensor in (found.tokens, found.lengths, found.correct, found.wrong)} == {torch.long}
    assert (found.rows_of([3, 1]), found.most_rows(9), found.answers(2, "correct")) == ([3, 1], 5, [[5], [6]])
    assert found.asked is found


@pytest.mark.parametrize("indices", [[1, 0], [2], [0], [1, 1, 0, -1], []])
def test_a_subset_is_what_those_rows_alone_would_make(indices: list[int]) -> None:
    prompts = Prompts.of(ROWS, padding=50)
    found = prompts.subset(indices)
    assert texts(found) == [TEXTS[i] for i in prompts.rows_of(indices)]
    assert found.steps is not None
    assert [found.steps.answers, len(found)] == [tuple(dict.fromkeys(found.steps.answers)), len(indices)]
    if not indices:
        return
    alone = Prompts.of([ROWS[i] for i in indices], padding=50)
    if alone.steps is None:
        return
    assert torch.equal(found.tokens, alone.tokens)
    assert torch.equal(found.lengths, alone.lengths)
    assert found.steps.extra == alone.steps.extra
    assert torch.equal(found.steps.table(), alone.steps.table())
    assert found.counterfactual is not None
    assert alone.counterfactual is not None
    assert torch.equal(found.counterfactual, alone.counterfactual)
    n_right = alone.correct.shape[1]
    wanted = found.steps.ids
    kept = torch.cat([wanted[:, :n_right], wanted[:, 3 : 3 + alone.wrong.shape[1]]], dim=1)
    assert torch.equal(kept, alone.steps.ids)


def test_an_index_outside_is_refused() -> None:
    for prompts in (Prompts.of(ROWS), Prompts.of(ROWS[2:])):
        with pytest.raises(IndexError):
            prompts.subset([3])


def test_batches_are_bounded_by_rows_and_keep_prompts_whole() -> None:
    prompts = Prompts.of(ROWS)
    for size, expected in ((1, [5, 2, 1]), (3, [5, 3]), (5, [5, 3]), (6, [5, 3]), (7, [7, 1]), (8, [8])):
        batches = list(prompts.batches(size))
        assert [batch.n_rows for batch in batches] == expected
        assert [e.prompt for batch in batches for e in batch.examples] == ["x", "y", "z"]
    assert [prompts.most_rows(n) for n in (1, 2, 3, 4)] == [5, 7, 8, 8]
    found = list(prompts.row_batches(3))
    assert [tokens.shape for tokens, _ in found] == [(3, 3), (3, 4), (2, 3)]
    assert torch.cat([last for _, last in found]).tolist() == prompts.last.tolist()
    with pytest.raises(TaskError, match="at least 1"):
        next(prompts.batches(0))


def test_the_prompts_alone_and_another_device() -> None:
    prompts = Prompts.of(ROWS, padding=50)
    alone = prompts.asked
    assert texts(alone) == TEXTS[:3]
    assert (alone.tokens.shape, alone.steps) == ((3, 3), None)
    assert (alone.correct.tolist(), alone.wrong.tolist()) == (
        [[1, 1, 4], [1, -1, -1], [2, 3, -1]],
        [[1, 4], [3, -1], [4, -1]],
    )
    moved = prompts.to("meta")
    assert moved.steps is not None
    assert {moved.tokens.device.type, moved.steps.ids.device.type, moved.wrong.device.type} == {"meta"}


def test_an_answer_without_tokens_and_an_unequal_counterfactual_are_refused() -> None:
    for right, wrong in (([[]], [[1]]), ([[1]], [[1, 2], []]), ([], [[1]])):
        with pytest.raises(TaskError, match="'x' has an answer without tokens"):
            Prompts.of([Row(example("x"), [1], None, right, wrong)])
    with pytest.raises(TaskError, match="2 tokens and its counterfactual 3"):
        Prompts.of([Row(example("x"), [1, 2], [1, 2, 3], [[1]], [[2]])])


@pytest.mark.parametrize(
    ("right", "wrong", "settled"),
    [
        ([[1, 2]], [[1]], False), ([[1, 2], [1, 3]], [[1], [5]], False), ([[1, 2], [4]], [[1]], None),
        ([[1]], [[1, 2]], True), ([[1], [5]], [[1, 2], [1, 3]], True), ([[1]], [[1, 2], [3]], None),
        ([[1, 2]], [[1, 3]], None),
    ],
)  # fmt: skip
def test_a_text_is_never_likelier_than_its_beginning(
    right: list[list[int]], wrong: list[list[int]], settled: bool | None
) -> None:
    row = Row(example("x"), [1, 1], None, right, wrong)
    assert row.settled is settled
    assert row.length == 1 + max(map(len, right + wrong))


def test_counterfactuals_from_the_same_split_keep_each_answers_beginning() -> None:
    rows = [
        Row(example("a"), [7, 8], None, [[1, 2]], [[1, 3]]),
        Row(example("b"), [7, 9], None, [[1, 3]], [[1, 2], [4]]),
        Row(example("c"), [7, 7], None, [[5]], [[6]]),
    ]
    found, alone = paired(Prompts.of(rows))
    assert alone == [2]
    assert found.counterfactual is not None
    shown = [row[:n].tolist() for row, n in zip(found.counterfactual, found.lengths.tolist(), strict=True)]
    assert shown == [[7, 9], [7, 8], [7, 7], [7, 9, 1], [7, 8, 1]]
    kept = found.subset([0, 1])
    assert texts(kept) == [[7, 8], [7, 9], [7, 8, 1], [7, 9, 1]]


def test_what_answers_go_on_with_is_part_of_what_a_search_is() -> None:
    """Same rows, same numbers of answers: only the last token differs, which no row shows."""
    other = [Row(ROWS[1].example, [6], [5], [[1, 4]], [[3]])]
    assert _checksum(Prompts.of([ROWS[1]])) != _checksum(Prompts.of(other))
