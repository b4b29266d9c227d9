"""Induction: random words said once and then again; what follows is what followed the first time.

After Olsson et al. 2022 (arXiv 2209.11895). The words are ordinary ones out of the tokenizer's own vocabulary, each one
token, all different. The counterfactual has the same beginning and other words where the repetition was, so that
nothing tells what follows. The wrong answer is another word of the sequence.

What is held out is fixed and does not depend on the seed: which word may follow which. No two neighbouring words of a
test prompt's sequence are neighbours in a training prompt's, so that nothing can be remembered from one to the other.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from discogp.errors import TaskError
from discogp.tasks.base import Example, Splits, SplitSizes, Task, register
from discogp.tasks.fitting import token_ids
from discogp.tasks.generated.lexicon import words
from discogp.tasks.generated.sampling import generator

LENGTHS = (4, 200)
# For tokenizers that are not at hand: short, frequent words.
COMMON = words(
    "water fire wood glass metal power energy world country family party house office history science story season "
    "surface system winter summer market bridge garden island music horse silver golden bright heavy small large quiet "
    "early late public private simple common local human city road river stone paper cloud table door window tree car "
    "book ring key map phone letter ball flower ticket drink gift hat song dark light green black white blue red new "
    "chair cup bottle bag coat shirt picture clock boat bike bed dog cat bird computer camera coin truck ship plane"
)
_MOST = 1500  # the most frequent words of a vocabulary are enough
_SPLITS = ("train", "train", "train", "train", "validation", "test")
_TRIES = 50  # for the next word; one in six is right in the smaller splits
_SPACES = ("\u0120", "\u2581")  # how byte-level and SentencePiece vocabularies write the space in front of a word


def split_of(word: str, after: str) -> str:
    """In which split one word may be followed by another."""
    return _SPLITS[crc32(f"{word} {after}".encode()) % len(_SPLITS)]


class _Induction:
    """What is said of the task, whatever its words."""

    name = "induction"
    title = "Induction"
    description = (
        "Random words, and then the same again: after “stone key music … key” comes “ music”. "
        "In the counterfactual prompt the words are not repeated."
    )
    source = "Random words of the tokenizer's vocabulary, after Olsson et al. 2022 (arXiv 2209.11895)"


@dataclass(frozen=True)
class _Fitted(_Induction):
    """The task with these words, any of which can be a prompt's first."""

    length: int
    vocabulary: tuple[str, ...]
    openers: tuple[str, ...]

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`."""
        made = {split: self._split(split, size, seed) for split, size in sizes.items()}
        return Splits(
            **made,
            held_out=(
                "No two neighbouring words of a test prompt's sequence are neighbours in a training or validation "
                "prompt's sequence."
            ),
        )

    def _split(self, split: str, size: int, seed: int) -> tuple[Example, ...]:
        rng = generator(self.name, split, seed)
        examples: dict[str, Example] = {}
        while len(examples) < size:
            example = self._example(split, rng)
            examples.setdefault(example.prompt, example)
        return tuple(examples.values())

    def _example(self, split: str, rng: random.Random) -> Example:
        sequence: list[str] = []
        while len(sequence) < self.length:
            sequence = self._sequence(split, rng)
        # At least a quarter is repeated, and two words: after one alone, nothing has been seen to repeat.
        asked = rng.randrange(max(2, self.length // 4), self.length)
        others = rng.sample([word for word in self.vocabulary if word not in sequence], asked)
        opener = rng.choice(self.openers)
        wrong = rng.choice([word for word in sequence if word not in sequence[asked - 1 : asked + 1]])
        return Example(
            prompt=" ".join([opener, *sequence, *sequence[:asked]]),
            counterfactual=" ".join([opener, *sequence, *others]),
            correct=(f" {sequence[asked]}",),
            wrong=(f" {wrong}",),
            group=f"{asked} repeated",
        )

    def _sequence(self, split: str, rng: random.Random) -> list[str]:
        """Different words, each of which may follow the one before in this split; too few if there was a dead end."""
        sequence = [rng.choice(self.vocabulary)]
        for _ in range(_TRIES * self.length):
            word = rng.choice(self.vocabulary)
            if word not in sequence and split_of(sequence[-1], word) == split:
                sequence.append(word)
                if len(sequence) == self.length:
                    break
        return sequence


@register("induction")
@dataclass(frozen=True)
class Induction(_Induction):
    """`length`: how many different words a sequence has. Without a tokenizer at hand the words are common ones."""

    length: int = 12

    def __post_init__(self) -> None:
        low, high = LENGTHS
        if isinstance(self.length, bool) or not isinstance(self.length, int) or not low <= self.length <= high:
            raise TaskError(
                f"the option 'length' of the task {self.name!r} is {self.length!r}; "
                f"give a whole number between {low} and {high}"
            )

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`."""
        return self._with(COMMON, COMMON).splits(sizes, seed)

    def fit(self, tokenizer: Any) -> Task:
        """See `FitsTokenizer.fit`."""
        return self._with(*_ordinary_words(tokenizer))

    def _with(self, vocabulary: tuple[str, ...], openers: tuple[str, ...]) -> Task:
        if len(vocabulary) < 3 * self.length or not openers:
            raise TaskError(
                f"the task {self.name!r} with sequences of {self.length} words needs {3 * self.length} ordinary words "
                f"that are one token each, and this tokenizer has {len(vocabulary)}; "
                "lower 'length', or choose another model"
            )
        return _Fitted(self.length, vocabulary, openers)


def _ordinary_words(tokenizer: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words of at least three letters that are one token after a space, and those that a text may start with.

    Lower ids first: in most vocabularies these are the more frequent words.
    """
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    candidates = [token[1:] for token, _ in tokens if token[:1] in _SPACES and len(token) > 3 and _is_word(token[1:])][
        : 2 * _MOST
    ]
    unknown = getattr(tokenizer, "unk_token_id", None)
    openers = tuple(word for word in candidates if unknown is None or unknown not in token_ids(tokenizer, word))
    if not openers:
        return (), ()
    before = len(token_ids(tokenizer, openers[0]))
    ordinary = [word for word in candidates if len(token_ids(tokenizer, f"{openers[0]} {word}")) == before + 1]
    return tuple(ordinary[:_MOST]), openers[:_MOST]


def _is_word(text: str) -> bool:
    return text.isascii() and text.isalpha()
