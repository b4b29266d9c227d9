"""Gendered pronoun: "So Mary is a really great friend, isn't" -> " she", not " he".

After Mathwin et al. 2023 ("Identifying a Preliminary Circuit for Predicting Gendered Pronouns in GPT-2 Small"). The
counterfactual has a name of the other gender and nothing else changed. What is held out is fixed and does not depend
on the seed: each split has its own names.
"""

from __future__ import annotations

from dataclasses import dataclass

from discogp.tasks.base import Example, Splits, SplitSizes, register
from discogp.tasks.generated.lexicon import NAMES, words
from discogp.tasks.generated.sampling import draw, generator

PRONOUNS = {"f": " she", "m": " he"}
TEMPLATES = (
    "So {name} is a really {praise} {role}, isn't",
    "So {name} is such a {praise} {role}, isn't",
    "Well, {name} was a very {praise} {role}, wasn't",
    "You know that {name} is a {praise} {role}, isn't",
)
PRAISE = words("great good nice kind smart funny brave gentle")
ROLES = words("friend teacher doctor player leader writer singer worker neighbor student")


@register("gendered_pronoun")
@dataclass(frozen=True)
class GenderedPronoun:
    """Is the person called by that name a she or a he? Half of the names of every split are women's, half men's."""

    name = "gendered_pronoun"
    title = "Gendered pronoun"
    description = (
        "“So Mary is a really great friend, isn't” is followed by “ she”, “So John …” by “ he”. "
        "The counterfactual prompt has a name of the other gender."
    )
    source = "Own templates, after Mathwin et al. 2023"

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`."""
        made = {split: self._split(split, size, seed) for split, size in sizes.items()}
        names = ", ".join(name for pool in NAMES["test"].values() for name in pool)
        return Splits(
            **made,
            held_out=(
                f"Each split has names of its own: those of the test prompts ({names}) occur in no training or "
                "validation prompt."
            ),
        )

    def _split(self, split: str, size: int, seed: int) -> tuple[Example, ...]:
        pools = NAMES[split]
        rng = generator(self.name, split, seed)
        examples = []
        for gender, cell in draw(
            rng, self.name, split, size, ("f", "m"), (len(pools["f"]), len(TEMPLATES), len(PRAISE), len(ROLES))
        ):
            name, template, praise, role = cell
            other = "m" if gender == "f" else "f"
            sentence = TEMPLATES[template].replace("{praise}", PRAISE[praise]).replace("{role}", ROLES[role])
            examples.append(
                Example(
                    prompt=sentence.format(name=pools[gender][name]),
                    counterfactual=sentence.format(name=rng.choice(pools[other])),
                    correct=(PRONOUNS[gender],),
                    wrong=(PRONOUNS[other],),
                    group="female" if gender == "f" else "male",
                )
            )
        rng.shuffle(examples)
        return tuple(examples)
