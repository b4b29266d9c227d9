"""Distinct prompts drawn at random from everything a grammar can say, a task's conditions in equal shares."""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import prod
from typing import TypeVar

from discogp.tasks.base import check_maximum

Group = TypeVar("Group")


def generator(task: str, split: str, seed: int) -> random.Random:
    """Every split of every task has a generator of its own: asking more of one changes nothing in another."""
    return random.Random(f"{task}/{split}/{seed}")


def draw(
    rng: random.Random, task: str, split: str, size: int, groups: Sequence[Group], shape: tuple[int, ...]
) -> list[tuple[Group, tuple[int, ...]]]:
    """`size` distinct (group, cell) pairs; a cell has one index below each number of `shape`, groups differ by one at
    most. TaskError, with the maximum, if there are not that many.
    """
    check_maximum(task, split, size, len(groups) * prod(shape))
    drawn = []
    for place, group in enumerate(groups):
        share = (size + len(groups) - 1 - place) // len(groups)
        drawn += [(group, _cell(flat, shape)) for flat in rng.sample(range(prod(shape)), share)]
    return drawn


def _cell(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    cell = []
    for length in reversed(shape):
        flat, index = divmod(flat, length)
        cell.append(index)
    return tuple(reversed(cell))
