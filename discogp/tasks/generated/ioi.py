"""Indirect object identification: "When Mary and John went to the store, John gave the drink to" -> " Mary".

After Wang et al. 2022 (arXiv 2211.00593): two names, one of which is the subject again; the answer is the other
one. Order ABBA: the indirect object comes first; BABA: the subject does. The counterfactual is their ABC
distribution: the same sentence with three other names, so that no name repeats and nothing says which is the answer;
or (`counterfactual="swap"`) the same sentence in which the other of the two acts, so that the answer is the other one.

What is held out is fixed and does not depend on the seed: each split has its own names, and its own combinations of
place and object. Text made of the training pools therefore has no test prompt of any seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations as pairs_of
from typing import Literal

from discogp.tasks.base import Example, Splits, SplitSizes, check_option, register
from discogp.tasks.generated.lexicon import NAMES, words
from discogp.tasks.generated.sampling import draw, generator

Order = Literal["mixed", "ABBA", "BABA"]
Counterfactual = Literal["abc", "swap"]

PLACES = words("store park school garden restaurant hospital office library market station church museum")
OBJECTS = words("book ring drink ball letter key map gift phone flower ticket hat")
TEMPLATES = (
    "When {x} and {y} went to the {place}, {s} gave the {object} to",
    "Then {x} and {y} went to the {place}. Soon {s} gave the {object} to",
    "After {x} and {y} came to the {place}, {s} handed the {object} to",
    "While {x} and {y} were working at the {place}, {s} offered the {object} to",
    "Yesterday {x} and {y} had a long talk at the {place}, and {s} passed the {object} to",
    "Once {x} and {y} were at the {place}, {s} decided to give the {object} to",
    "The {place} was quiet when {x} and {y} came in. Then {s} gave the {object} to",
    "In the morning {x} met {y} at the {place}, where {s} handed the {object} to",
    "It was late when {x} and {y} left the {place}, so {s} gave the {object} to",
    "At the {place} {x} found the {object} with {y}. Later {s} gave it to",
)

# Latin squares of six colours: four of them train, one validates, one tests.
_COLOURS = {"train": (0, 1, 2, 3), "validation": (4,), "test": (5,)}


def combinations(split: str) -> tuple[tuple[str, str], ...]:
    """The (place, object) pairs of one split."""
    colours = _COLOURS[split]
    return tuple(
        (place, thing) for i, place in enumerate(PLACES) for j, thing in enumerate(OBJECTS) if (i + j) % 6 in colours
    )


def names(split: str) -> tuple[str, ...]:
    """The names of one split."""
    return NAMES[split]["f"] + NAMES[split]["m"]


@register("ioi")
@dataclass(frozen=True)
class IndirectObjectIdentification:
    """Which of two names did not act? `order`: half ABBA and half BABA, or one alone; `counterfactual`: see above."""

    order: Order = "mixed"
    counterfactual: Counterfactual = "abc"
    name = "ioi"
    title = "Indirect object identification"
    description = (
        "“When Mary and John went to the store, John gave the drink to” is followed by “ Mary”, the name that was "
        "said once. The counterfactual prompt has three other names."
    )
    source = "Own templates, after Wang et al. 2022 (arXiv 2211.00593)"

    def __post_init__(self) -> None:
        check_option(self.name, "order", self.order, Order)
        check_option(self.name, "counterfactual", self.counterfactual, Counterfactual)

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`. Largest sizes: tens of thousands for every split."""
        made = {split: self._split(split, size, seed) for split, size in sizes.items()}
        return Splits(
            **made,
            held_out=(
                f"Each split has names of its own: those of the test prompts ({', '.join(names('test'))}) occur in no "
                "training or validation prompt. Its combinations of place and object are its own as well."
            ),
        )

    def _split(self, split: str, size: int, seed: int) -> tuple[Example, ...]:
        pairs, places = tuple(pairs_of(names(split), 2)), combinations(split)
        orders = ("ABBA", "BABA") if self.order == "mixed" else (self.order,)
        rng = generator(self.name, split, seed)
        examples = []
        # A cell: template, place and object, pair of names, which of them acts.
        for order, cell in draw(rng, self.name, split, size, orders, (len(TEMPLATES), len(places), len(pairs), 2)):
            template, place, pair, swapped = cell
            io, subject = reversed(pairs[pair]) if swapped else pairs[pair]
            others = rng.sample([name for name in names(split) if name not in (io, subject)], 3)
            examples.append(self._example(order, TEMPLATES[template], places[place], io, subject, others))
        rng.shuffle(examples)
        return tuple(examples)

    def _example(
        self, order: str, template: str, place: tuple[str, str], io: str, subject: str, others: list[str]
    ) -> Example:
        x, y = (io, subject) if order == "ABBA" else (subject, io)
        a, b, c = (x, y, io) if self.counterfactual == "swap" else others
        sentence = template.replace("{place}", place[0]).replace("{object}", place[1])
        return Example(
            prompt=sentence.format(x=x, y=y, s=subject),
            counterfactual=sentence.format(x=a, y=b, s=c),
            correct=(f" {io}",),
            wrong=(f" {subject}",),
            group=order,
        )
