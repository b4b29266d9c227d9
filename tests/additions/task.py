"""A task: goes to `discogp/tasks/generated/`."""

from __future__ import annotations

from dataclasses import dataclass

from discogp.tasks.base import Example, Splits, SplitSizes, register
from discogp.tasks.generated.ioi import PLACES
from discogp.tasks.generated.lexicon import NAMES
from discogp.tasks.generated.sampling import draw, generator


@register("same_name")
@dataclass(frozen=True)
class SameName:
    """A name that was said is said again: “Then Mary and John went to the park. John and” → “ Mary”."""

    name = "same_name"
    title = "Same name"
    description = "Of two names the one that was not said again."
    source = "an example"

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        return Splits(**{name: self._split(name, size, seed) for name, size in sizes.items()}, held_out="Names.")

    def _split(self, split: str, size: int, seed: int) -> tuple[Example, ...]:
        women, men = NAMES[split]["f"], NAMES[split]["m"]
        rng = generator(self.name, split, seed)
        cells = draw(rng, self.name, split, size, ("",), (len(women), len(men), len(PLACES)))
        return tuple(
            Example(
                prompt=f"Then {women[w]} and {men[m]} went to the {PLACES[p]}. {men[m]} and",
                counterfactual=None,
                correct=(f" {women[w]}",),
                wrong=(f" {men[m]}",),
            )
            for _, (w, m, p) in cells
        )
