"""Agreement: subject and verb, determiner and noun, reflexive and antecedent in number or in gender.

After the paradigms of BLiMP (Warstadt et al. 2020, arXiv 1912.00582), in sentences of the small grammars below. Of each
kind there is a second task, `…_distractor`, in which a noun of the other number or gender stands in between, so that
looking at the nearest noun misleads. (`anaphor_number` itself has either, or nothing.) The counterfactual flips the
number or gender of the word that decides, and nothing else.

What is held out is fixed and does not depend on the seed: each split has its own nouns, hence its own combinations of
noun and verb, or of determiner and noun.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from discogp.tasks.base import Example, Splits, SplitSizes, register
from discogp.tasks.from_files.blimp import blimp_splits
from discogp.tasks.generated.lexicon import ADJECTIVES, GENDERED, LANDMARKS, NAMES, PEOPLE, THINGS
from discogp.tasks.generated.sampling import draw, generator

PLURAL = " themselves"
REFLEXIVES = {"f": " herself", "m": " himself"}
OPENERS = (
    "The",
    "Yesterday the",
    "Last night the",
    "People said that the",
    "It was clear that the",
    "In the end the",
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
# What stands in front of a subject, and the verbs that may follow it, singular and plural.
TENSES = (
    ("The", " is", " are"),
    ("Today the", " is", " are"),
    ("It is clear that the", " is", " are"),
    ("Last year the", " was", " were"),
    ("People said that the", " was", " were"),
    ("In the end the", " was", " were"),
    ("By now the", " has", " have"),
    ("Since then the", " has", " have"),
)
DETERMINERS = (("this", "these"), ("that", "those"))
WANTED = ("liked", "wanted", "bought", "sold", "found", "lost")
NUMBERS = ("singular", "plural")
GENDERS = ("f", "m")

Cell = tuple[int, ...]


class _Agreement(ABC):
    """What the kinds share: `shape` is the index space of one condition, `_example` one sentence of it."""

    name: str
    title: str
    description: str
    conditions = NUMBERS
    distractor = False

    @property
    def source(self) -> str:
        return "Own grammar, after BLiMP (Warstadt et al. 2020, arXiv 1912.00582)"

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`."""
        made = {split: self._split(split, size, seed) for split, size in sizes.items()}
        return Splits(**made, held_out=self._held_out())

    def _split(self, split: str, size: int, seed: int) -> tuple[Example, ...]:
        rng = generator(self.name, split, seed)
        drawn = draw(rng, self.name, split, size, range(len(self.conditions)), self._shape(split))
        examples = [self._example(split, condition, cell, rng) for condition, cell in drawn]
        rng.shuffle(examples)
        return tuple(examples)

    @abstractmethod
    def _held_out(self) -> str: ...
    @abstractmethod
    def _shape(self, split: str) -> tuple[int, ...]: ...
    @abstractmethod
    def _example(self, split: str, condition: int, cell: Cell, rng: random.Random) -> Example: ...


class _Anaphor(_Agreement):
    def _held_out(self) -> str:
        nouns = ", ".join(singular for singular, _, _ in GENDERED["test"])
        return (
            f"Each split has subject nouns of its own: those of the test prompts ({nouns}) occur in no training or "
            "validation prompt, in neither number. So every combination of noun and verb is new in the test."
        )


def _clause(opener: int, noun: str, phrase: str, auxiliary: int, verb: int) -> str:
    """ "The women near the door had admired"."""
    past, base = VERBS[verb]
    helper = AUXILIARIES[auxiliary]
    return f"{OPENERS[opener]} {noun}{phrase}{helper} {past if helper in ('', ' had') else base}"


class _AnaphorNumber(_Anaphor):
    def _shape(self, split: str) -> tuple[int, ...]:
        phrases = len(LANDMARKS) if self.distractor else len(PHRASES)
        return (len(GENDERED[split]), len(OPENERS), phrases, len(AUXILIARIES), len(VERBS))

    def _example(self, split: str, condition: int, cell: Cell, rng: random.Random) -> Example:
        noun, opener, place, auxiliary, verb = cell
        phrase = f" near the {LANDMARKS[place][1 - condition]}" if self.distractor else PHRASES[place]
        sentences = [_clause(opener, GENDERED[split][noun][i], phrase, auxiliary, verb) for i in (0, 1)]
        answers = (REFLEXIVES[GENDERED[split][noun][2]], PLURAL)
        return _flipped(sentences, answers, condition, NUMBERS)


@register("agreement/anaphor_number", aliases=("anaphor_number_agreement",))
@dataclass(frozen=True)
class AnaphorNumber(_AnaphorNumber):
    """Which reflexive agrees with the subject? Half of the prompts of every split are singular, half plural.

    `path`: a file in BLiMP's JSON-lines format to use instead of the grammar.
    """

    path: str | Path | None = None
    name = "agreement/anaphor_number"
    title = "Anaphor number agreement"
    description = (
        "“The women near the door admired” is followed by “ themselves”, “The woman …” by “ herself”. "
        "The counterfactual prompt flips the number of the subject."
    )

    @property
    def source(self) -> str:
        if self.path is not None:
            return f"BLiMP file {Path(self.path).name} (Warstadt et al. 2020, arXiv 1912.00582)"
        return super().source

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`. Prompts from a BLiMP file have no counterfactual."""
        if self.path is not None:
            return blimp_splits(self.name, Path(self.path), sizes, seed)
        return super().splits(sizes, seed)


@register("agreement/anaphor_number_distractor")
@dataclass(frozen=True)
class AnaphorNumberDistractor(_AnaphorNumber):
    """Which reflexive agrees with the subject, always with a noun of the other number in between?"""

    name = "agreement/anaphor_number_distractor"
    title = "Anaphor number agreement, with a distractor"
    description = (
        "“The women near the door admired” is followed by “ themselves”: the noun in between has the other number. "
        "The counterfactual prompt flips the number of the subject."
    )
    distractor = True


@register("agreement/anaphor_gender", aliases=("anaphor_gender_agreement",))
@dataclass(frozen=True)
class AnaphorGender(_Anaphor):
    """Which reflexive agrees with the subject? Half of the subjects of every split are women, half men."""

    name = "agreement/anaphor_gender"
    title = "Anaphor gender agreement"
    description = (
        "“The queen admired” is followed by “ herself”, “The king …” by “ himself”. "
        "The counterfactual prompt flips the gender of the subject."
    )
    conditions = GENDERS

    def _shape(self, split: str) -> tuple[int, ...]:
        couples = len(GENDERED[split]) // 2
        # With a distractor: the one person near the other, who may come from any other couple.
        between = couples - 1 if self.distractor else 1
        return (couples, between, len(OPENERS), len(AUXILIARIES), len(VERBS))

    def _example(self, split: str, condition: int, cell: Cell, rng: random.Random) -> Example:
        couple, other, opener, auxiliary, verb = cell
        nouns = [noun for noun, _, _ in GENDERED[split]]
        away = (couple + 1 + other) % (len(nouns) // 2)
        phrase = f" near the {nouns[2 * away + 1 - condition]}" if self.distractor else ""
        sentences = [_clause(opener, nouns[2 * couple + i], phrase, auxiliary, verb) for i in (0, 1)]
        return _flipped(sentences, tuple(REFLEXIVES[gender] for gender in GENDERS), condition, ("female", "male"))


@register("agreement/anaphor_gender_distractor")
@dataclass(frozen=True)
class AnaphorGenderDistractor(AnaphorGender):
    """The same, always with a person of the other gender in between."""

    name = "agreement/anaphor_gender_distractor"
    title = "Anaphor gender agreement, with a distractor"
    description = (
        "“The queen near the son admired” is followed by “ herself”: the person in between has the other gender. "
        "The counterfactual prompt flips the gender of the subject."
    )
    distractor = True


@register("agreement/subject_verb")
@dataclass(frozen=True)
class SubjectVerb(_Agreement):
    """Which form of the verb agrees with the subject?"""

    name = "agreement/subject_verb"
    title = "Subject-verb agreement"
    description = (
        "“Last year the old pilots” is followed by “ were”, “… the old pilot” by “ was”. "
        "The counterfactual prompt flips the number of the subject."
    )

    def _held_out(self) -> str:
        nouns = ", ".join(singular for singular, _ in PEOPLE["test"])
        return (
            f"Each split has subject nouns of its own: those of the test prompts ({nouns}) occur in no training or "
            "validation prompt, in neither number. So every combination of noun and verb is new in the test."
        )

    def _shape(self, split: str) -> tuple[int, ...]:
        places = len(LANDMARKS) if self.distractor else 1
        return (len(PEOPLE[split]), len(TENSES), len(ADJECTIVES) + 1, places)

    def _example(self, split: str, condition: int, cell: Cell, rng: random.Random) -> Example:
        noun, tense, adjective, place = cell
        opener, *answers = TENSES[tense]
        phrase = f" near the {LANDMARKS[place][1 - condition]}" if self.distractor else ""
        described = ("", *(f" {word}" for word in ADJECTIVES))[adjective]
        sentences = [f"{opener}{described} {number}{phrase}" for number in PEOPLE[split][noun]]
        return _flipped(sentences, tuple(answers), condition, NUMBERS)


@register("agreement/subject_verb_distractor")
@dataclass(frozen=True)
class SubjectVerbDistractor(SubjectVerb):
    """The same, always with a noun of the other number in between."""

    name = "agreement/subject_verb_distractor"
    title = "Subject-verb agreement, with a distractor"
    description = (
        "“Last year the old pilots near the gate” is followed by “ were”: the noun in between has the other number. "
        "The counterfactual prompt flips the number of the subject."
    )
    distractor = True


@register("agreement/determiner_noun")
@dataclass(frozen=True)
class DeterminerNoun(_Agreement):
    """Which form of the noun agrees with its determiner?"""

    name = "agreement/determiner_noun"
    title = "Determiner-noun agreement"
    description = (
        "“Lucy bought these” is followed by “ guitars” rather than “ guitar”, “Lucy bought this” by “ guitar”. "
        "The counterfactual prompt flips the number of the determiner."
    )

    def _held_out(self) -> str:
        nouns = ", ".join(singular for singular, _ in THINGS["test"])
        return (
            f"Each split has nouns of its own to choose from: those of the test prompts ({nouns}) are an answer of no "
            "training or validation prompt, in neither number; so are its names."
        )

    def _shape(self, split: str) -> tuple[int, ...]:
        places = len(LANDMARKS) if self.distractor else 1
        names = sum(map(len, NAMES[split].values()))
        return (len(DETERMINERS), names, places, len(WANTED), 2)

    def _example(self, split: str, condition: int, cell: Cell, rng: random.Random) -> Example:
        determiner, name, place, verb, old = cell
        who = (NAMES[split]["f"] + NAMES[split]["m"])[name]
        phrase = f" near the {LANDMARKS[place][1 - condition]}" if self.distractor else ""
        sentences = [f"{who}{phrase} {WANTED[verb]} {word}{' old' * old}" for word in DETERMINERS[determiner]]
        # The prompt says nothing of which noun follows, so it must not occur twice with different ones.
        noun = rng.choice(THINGS[split])
        return _flipped(sentences, tuple(f" {word}" for word in noun), condition, NUMBERS)


@register("agreement/determiner_noun_distractor")
@dataclass(frozen=True)
class DeterminerNounDistractor(DeterminerNoun):
    """The same, always after a noun of the other number."""

    name = "agreement/determiner_noun_distractor"
    title = "Determiner-noun agreement, with a distractor"
    description = (
        "“Lucy near the door bought these” is followed by “ guitars”: the noun before has the other number. "
        "The counterfactual prompt flips the number of the determiner."
    )
    distractor = True


def _flipped(sentences: list[str], answers: tuple[str, ...], condition: int, names: tuple[str, ...]) -> Example:
    """One of two sentences as the prompt, the other as its counterfactual; each has the answer of its place."""
    return Example(
        prompt=sentences[condition],
        counterfactual=sentences[1 - condition],
        correct=(answers[condition],),
        wrong=(answers[1 - condition],),
        group=names[condition],
    )
