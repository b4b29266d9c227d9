"""Anaphor number agreement: "The women near the door admired" -> " themselves", not " herself".

The paradigm is BLiMP's `anaphor_number_agreement` (Warstadt et al. 2020, arXiv 1912.00582); the sentences are made by
the small grammar below, or read from BLiMP's own file (`path=`, see `blimp.py`). Subjects are gendered, so that one
reflexive alone agrees. The phrase between subject and verb has a noun of either number, so that looking at the
nearest noun does not help. The counterfactual flips the subject's number and nothing else.

What is held out is fixed and does not depend on the seed: each split has its own subject nouns, hence its own
combinations of noun and verb.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from discogp.tasks.base import Example, Splits, SplitSizes, check_maximum, register
from discogp.tasks.blimp import blimp_splits

PLURAL = " themselves"
REFLEXIVES = {"f": " herself", "m": " himself"}

# (singular, plural, gender); singular and plural are one token each after a space in GPT-2's and SmolLM2's
# vocabularies, so that flipping the number keeps the number of tokens.
NOUNS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "train": (
        ("woman", "women", "f"),
        ("man", "men", "m"),
        ("girl", "girls", "f"),
        ("boy", "boys", "m"),
        ("mother", "mothers", "f"),
        ("father", "fathers", "m"),
        ("sister", "sisters", "f"),
        ("brother", "brothers", "m"),
        ("wife", "wives", "f"),
        ("husband", "husbands", "m"),
        ("widow", "widows", "f"),
        ("lord", "lords", "m"),
        ("nun", "nuns", "f"),
        ("monk", "monks", "m"),
    ),
    "validation": (
        ("lady", "ladies", "f"),
        ("gentleman", "gentlemen", "m"),
        ("witch", "witches", "f"),
        ("prince", "princes", "m"),
    ),
    "test": (
        ("daughter", "daughters", "f"),
        ("son", "sons", "m"),
        ("queen", "queens", "f"),
        ("king", "kings", "m"),
        ("goddess", "goddesses", "f"),
        ("god", "gods", "m"),
        ("mom", "moms", "f"),
        ("guy", "guys", "m"),
    ),
}
OPENERS = (
    "The",
    "Yesterday the",
    "Last night the",
    "People said that the",
    "It was clear that the",
    "In the end the",
)
LANDMARKS = (
    ("door", "doors"),
    ("window", "windows"),
    ("table", "tables"),
    ("tree", "trees"),
    ("car", "cars"),
    ("house", "houses"),
    ("gate", "gates"),
    ("wall", "walls"),
)
PHRASES = ("", *(f" near the {noun}" for pair in LANDMARKS for noun in pair))
AUXILIARIES = ("", " had", " could", " would", " might")
# (past and participle, base form): regular verbs, so that "had" takes the past form.
VERBS = (
    ("admired", "admire"),
    ("blamed", "blame"),
    ("defended", "defend"),
    ("described", "describe"),
    ("helped", "help"),
    ("introduced", "introduce"),
    ("loved", "love"),
    ("praised", "praise"),
    ("protected", "protect"),
    ("questioned", "question"),
    ("reminded", "remind"),
    ("surprised", "surprise"),
    ("trusted", "trust"),
    ("watched", "watch"),
    ("corrected", "correct"),
    ("respected", "respect"),
)


@register("agreement/anaphor_number", aliases=("anaphor_number_agreement",))
@dataclass(frozen=True)
class AnaphorNumberAgreement:
    """Which reflexive agrees with the subject? Half of the prompts of every split are singular, half plural.

    `path`: a file in BLiMP's JSON-lines format to use instead of the grammar.
    """

    path: str | Path | None = None
    name: str = field(default="agreement/anaphor_number", init=False)
    title: str = field(default="Anaphor number agreement", init=False)
    description: str = field(
        default=(
            "“The women near the door admired” is followed by “ themselves”, “The woman …” by “ herself”. "
            "The counterfactual prompt flips the number of the subject."
        ),
        init=False,
    )

    @property
    def source(self) -> str:
        if self.path is not None:
            return f"BLiMP file {Path(self.path).name} (Warstadt et al. 2020, arXiv 1912.00582)"
        return "Own grammar, after BLiMP (Warstadt et al. 2020, arXiv 1912.00582)"

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`. Prompts from a BLiMP file have no counterfactual."""
        if self.path is not None:
            return blimp_splits(self.name, Path(self.path), sizes, seed)
        made = {split: self._split(split, size, seed) for split, size in sizes.items()}
        nouns = ", ".join(singular for singular, _, _ in NOUNS["test"])
        return Splits(
            **made,
            held_out=(
                f"Each split has subject nouns of its own: those of the test prompts ({nouns}) occur in no training or "
                "validation prompt, in neither number. So every combination of noun and verb is new in the test."
            ),
        )

    def _split(self, split: str, size: int, seed: int) -> tuple[Example, ...]:
        nouns = NOUNS[split]
        # Index space of one number (singular or plural): noun, opener, phrase, auxiliary, verb.
        shape = (len(nouns), len(OPENERS), len(PHRASES), len(AUXILIARIES), len(VERBS))
        check_maximum(self.name, split, size, 2 * prod(shape))
        rng = random.Random(f"{self.name}/{split}/{seed}")
        examples = []
        for plural, share in ((False, size - size // 2), (True, size // 2)):
            for flat in rng.sample(range(prod(shape)), share):
                flat, verb = divmod(flat, shape[4])
                flat, auxiliary = divmod(flat, shape[3])
                flat, phrase = divmod(flat, shape[2])
                noun, opener = divmod(flat, shape[1])
                examples.append(_example(plural, nouns[noun], opener, phrase, auxiliary, verb))
        rng.shuffle(examples)
        return tuple(examples)


def _example(plural: bool, noun: tuple[str, str, str], opener: int, phrase: int, auxiliary: int, verb: int) -> Example:
    past, base = VERBS[verb]
    helper = AUXILIARIES[auxiliary]
    rest = f"{PHRASES[phrase]}{helper} {past if helper in ('', ' had') else base}"
    sentences = [f"{OPENERS[opener]} {noun[number]}{rest}" for number in (0, 1)]
    singular = REFLEXIVES[noun[2]]
    return Example(
        prompt=sentences[plural],
        counterfactual=sentences[not plural],
        correct=(PLURAL if plural else singular,),
        wrong=(singular if plural else PLURAL,),
        group="plural" if plural else "singular",
    )
