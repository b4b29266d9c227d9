"""Capitals: "My friend told me that the capital of France is" -> " Paris", out of a small closed set of capitals.

A fact to recall, not a rule: the countries are the same in every split, and what is held out, whatever the seed, are
the ways to ask. The wrong answers are all other capitals of the set; the counterfactual asks for another country.
"""

from __future__ import annotations

from dataclasses import dataclass

from discogp.tasks.base import Example, Splits, SplitSizes, register
from discogp.tasks.generated.sampling import draw, generator

# One token each after a space, country and capital, in GPT-2's and SmolLM2's vocabularies.
CAPITALS = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "England": "London",
    "Russia": "Moscow",
    "Japan": "Tokyo",
    "China": "Beijing",
    "Egypt": "Cairo",
    "Greece": "Athens",
    "Austria": "Vienna",
    "Ireland": "Dublin",
    "Portugal": "Lisbon",
    "Poland": "Warsaw",
    "Cuba": "Havana",
    "Iraq": "Baghdad",
    "Iran": "Tehran",
    "Syria": "Damascus",
    "Sweden": "Stockholm",
    "Norway": "Oslo",
    "Finland": "Helsinki",
    "Denmark": "Copenhagen",
    "Hungary": "Budapest",
    "Canada": "Ottawa",
    "Peru": "Lima",
    "Kenya": "Nairobi",
    "Belgium": "Brussels",
    "Scotland": "Edinburgh",
    "Chile": "Santiago",
    "Bulgaria": "Sofia",
}
OPENERS = (
    "Everyone knows that",
    "We read that",
    "The teacher said that",
    "My friend told me that",
    "At school we heard that",
    "In the book it says that",
    "It is clear that",
    "You know that",
)
TEMPLATES = {
    "train": (
        "the capital of {country} is",
        "the capital city of {country} is",
        "the capital of {country} is called",
        "the name of the capital of {country} is",
        "{country} has a capital called",
        "{country} has a capital and its name is",
    ),
    "validation": (
        "the capital city of {country} is called",
        "{country} has a capital city called",
    ),
    "test": (
        "the name of the capital city of {country} is",
        "{country} has a capital city and its name is",
        "{country} has a capital that is called",
    ),
}


@register("capitals")
@dataclass(frozen=True)
class Capitals:
    """What is the capital of a country?"""

    name = "capitals"
    title = "Capitals"
    description = (
        "“We read that the capital of France is” is followed by “ Paris” rather than by another of thirty capitals. "
        "The counterfactual prompt asks for another country."
    )
    source = "Own list and templates"

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`."""
        made = {split: self._split(split, size, seed) for split, size in sizes.items()}
        asked = "; ".join(template.format(country="France") + " …" for template in TEMPLATES["test"])
        return Splits(
            **made,
            held_out=f"Each split asks in words of its own, about the same countries. The test asks: {asked}",
        )

    def _split(self, split: str, size: int, seed: int) -> tuple[Example, ...]:
        rng = generator(self.name, split, seed)
        examples = []
        for country, (opener, template) in draw(
            rng, self.name, split, size, tuple(CAPITALS), (len(OPENERS), len(TEMPLATES[split]))
        ):
            sentence = f"{OPENERS[opener]} {TEMPLATES[split][template]}"
            capital = CAPITALS[country]
            examples.append(
                Example(
                    prompt=sentence.format(country=country),
                    counterfactual=sentence.format(country=rng.choice([c for c in CAPITALS if c != country])),
                    correct=(f" {capital}",),
                    wrong=tuple(f" {other}" for other in CAPITALS.values() if other != capital),
                    group=country,
                )
            )
        rng.shuffle(examples)
        return tuple(examples)
