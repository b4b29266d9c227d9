"""Docstring: which argument comes next in a Python docstring, after those that have been described?

After Heimersheim & Janiak 2023 ("A circuit for Python docstrings in a 4-layer attention-only transformer"): a function
with four arguments, of which the docstring has described the first two; the answer is the third, the wrong answers are
the other three. The counterfactual is the same text with four other argument names. What is held out is fixed and does
not depend on the seed: each split has its own argument names.
"""

from __future__ import annotations

from dataclasses import dataclass

from discogp.tasks.base import Example, Splits, SplitSizes, register
from discogp.tasks.generated.lexicon import words
from discogp.tasks.generated.sampling import draw, generator

ARGUMENTS = {
    "train": words(
        "files target size fields shape results names item test value image index tag key state user order text data "
        "path list model count label mask params input values point group width base type number line rate"
    ),
    "validation": words("name start step color parent field output code level"),
    "test": words("page time date length depth height weight score source table query event filter limit"),
}
FUNCTIONS = words("port send make find build run read check load save update remove")
WORDS = words("oil column piece crime population unit dark song city road river paper winter summer market bridge")
TEXT = '''def {function}(self, {a}, {b}, {c}, {d}):
    """{words[0]} {words[1]} {words[2]}

    :param {a}: {words[3]} {words[4]}
    :param {b}: {words[5]} {words[6]}
    :param'''


@register("docstring")
@dataclass(frozen=True)
class Docstring:
    """The next argument to describe is the third of four."""

    name = "docstring"
    title = "Docstring completion"
    description = (
        "After “def load(self, page, score, query, depth): … :param page: … :param score: … :param” comes “ query”. "
        "The counterfactual prompt has other argument names."
    )
    source = "Own template, after Heimersheim & Janiak 2023"

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`."""
        made = {split: self._split(split, size, seed) for split, size in sizes.items()}
        return Splits(
            **made,
            held_out=(
                f"Each split has argument names of its own: those of the test prompts ({', '.join(ARGUMENTS['test'])}) "
                "occur in no training or validation prompt."
            ),
        )

    def _split(self, split: str, size: int, seed: int) -> tuple[Example, ...]:
        pool = ARGUMENTS[split]
        rng = generator(self.name, split, seed)
        examples = []
        # A cell: the function, and an ordered choice of four different argument names.
        shape = (len(FUNCTIONS), *(len(pool) - i for i in range(4)))
        for _, (function, *places) in draw(rng, self.name, split, size, ("third of four",), shape):
            left = list(pool)
            arguments = [left.pop(place) for place in places]
            others = rng.sample(left, 4)
            said = rng.sample(WORDS, 7)
            texts = [
                TEXT.format(function=FUNCTIONS[function], words=said, **dict(zip("abcd", chosen, strict=True)))
                for chosen in (arguments, others)
            ]
            answer = arguments.pop(2)
            examples.append(
                Example(
                    prompt=texts[0],
                    counterfactual=texts[1],
                    correct=(f" {answer}",),
                    wrong=tuple(f" {argument}" for argument in arguments),
                    group="third of four",
                )
            )
        return tuple(examples)
