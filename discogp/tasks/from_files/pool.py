"""Tasks on a fixed stock of items, published or the user's own: read once, encoded, and only then split.

A generator can always make another prompt; a file cannot. So what a tokenizer cannot express goes first, and the
splits are made of what is left: `prepare` asks such a task for its `pool`, encodes it, and has it `split`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from discogp.errors import TaskError
from discogp.tasks.base import SPLIT_NAMES, Example, Splits, SplitSizes, Task


@dataclass(frozen=True, slots=True)
class Pool:
    """All items of a task. `dropped`: what its file holds and cannot be an item, by reason; `notes`: what somebody
    should know before a search. `paired`: an item's counterfactual may be another item (see `counterfactuals`).
    `files`: what they were read from."""

    examples: tuple[Example, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    paired: bool = False
    files: tuple[Path, ...] = ()


@runtime_checkable
class PooledTask(Task, Protocol):
    """A task whose items are all there is."""

    def pool(self) -> Pool:
        """Every item. TaskError if the data cannot be found or read."""
        ...

    def split(self, examples: Sequence[Example], sizes: SplitSizes, seed: int) -> Splits:
        """Those of the pool's examples that a tokenizer can express, in three splits; see `split_pool`."""
        ...


Family = Callable[[Example], Hashable]


def split_pool(
    task: str, examples: Sequence[Example], families: Sequence[tuple[Family, str]], sizes: SplitSizes, seed: int
) -> Splits:
    """Three splits of the sizes wanted or, where there are too few items, smaller in proportion.

    `families`: ways to tell which items must stay in one split, each with the sentence that says so, the most telling
    first. The first is taken by which the splits get as large as by any; the last should be the prompt itself. Items
    that are the same prompt with the same answers count once. TaskError if three splits cannot be made.
    """
    examples = tuple({(e.prompt, e.correct, e.wrong): e for e in examples}.values())
    wanted = dict(sizes.items())
    made = [(_deal(examples, family, wanted, f"{task}/{seed}"), said) for family, said in families]
    best = max(_filled(pools, wanted) for pools, _ in made)
    if best == 0:
        prompts = len({e.prompt for e in examples})
        raise TaskError(
            f"the {len(examples)} different items of {task!r} that this model can be asked have {prompts} different "
            f"prompt{'s' * (prompts != 1)} between them, too few for three splits that share none; `tasks check` still "
            "scores them; choose another task, or give more data"
        )
    pools, said = next((p, s) for p, s in made if _filled(p, wanted) >= 0.95 * best)
    share = min(1.0, _filled(pools, wanted))
    rng = random.Random(f"{task}/{seed}/drawn")
    drawn = {name: tuple(rng.sample(pools[name], max(1, int(share * wanted[name])))) for name in SPLIT_NAMES}
    return Splits(drawn["train"], drawn["validation"], drawn["test"], held_out=said)


def _deal(
    examples: Sequence[Example], family: Family, wanted: Mapping[str, int], seed: str
) -> dict[str, list[Example]]:
    """Whole families, the largest first, each to the split that is furthest from full: all fill at one rate."""
    members: dict[Hashable, list[Example]] = defaultdict(list)
    for example in examples:
        members[family(example)].append(example)
    rng = random.Random(seed)
    order = sorted(members.values(), key=lambda found: (-len(found), rng.random()))
    pools: dict[str, list[Example]] = {name: [] for name in wanted}
    for found in order:
        pools[min(pools, key=lambda name: len(pools[name]) / wanted[name])].extend(found)
    return pools


def _filled(pools: Mapping[str, Sequence[Example]], wanted: Mapping[str, int]) -> float:
    """The share, at most 1, of its size that the split with the least of it gets."""
    return min(1.0, *(len(pools[name]) / size for name, size in wanted.items()))
