"""Greater-than: "The war lasted from the year 1734 to the year 17" -> "35" to "99", not "00" to "34".

After Hanna et al. 2023 (arXiv 2305.00586). Right is every later end, wrong every other, so a prompt has many answers of
either kind. How a year is cut into tokens decides what can be asked (`ask`):

- "years", for tokenizers with two-digit tokens (GPT-2, `mini`): the two digits after the century.
- "units", for tokenizers with one token a digit, or three (Llama, SmolLM2): "… 1734 to the year 173" -> "5" to "9".
- "decade", for tokenizers with one token a digit: "… 1734 to the year 17" -> "4" to "9", not "0" to "2"; the
  start's own decade may be right or wrong and is neither.
- "auto": years if the tokenizer can, else units.

The counterfactual starts so early that nearly every end is later: year 01 of the century, year 0 of the decade. What is
held out is fixed and does not depend on the seed: each split has its own start years, and its own events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from discogp.errors import TaskError
from discogp.tasks.base import Example, Splits, SplitSizes, Task, check_option, register
from discogp.tasks.fitting import token_ids
from discogp.tasks.generated.lexicon import words
from discogp.tasks.generated.sampling import draw, generator

Ask = Literal["auto", "years", "units", "decade"]

TEMPLATES = (
    "The {event} lasted from the year {start} to the year {stem}",
    "The {event} went on from the year {start} to the year {stem}",
    "The {event} began in the year {start} and ended in the year {stem}",
)
EVENTS = {
    "train": words(
        "war siege reign journey strike plague revolution conflict project campaign voyage battle struggle crisis"
    ),
    "validation": words("drought rebellion debate alliance"),
    "test": words("expedition treaty occupation empire marriage search"),
}
CENTURIES = range(11, 18)
EARLIEST, LATEST = 2, 98  # of a century: one year at least is earlier, and one later
# Few endings would leave nothing to be greater than.
_ENDINGS_NEEDED = 50
_COLOURS = {"train": (0, 1, 2, 3), "validation": (4,), "test": (5,)}

Endings = Mapping[int, frozenset[int]]
"""Of each century, the years (0–99) whose two digits are one token after the century's."""
_ALL: Endings = {century: frozenset(range(100)) for century in CENTURIES}


def split_of(year: int) -> str:
    """Which split may start in that year."""
    colour = sum(divmod(year, 100)) % 6
    return next(split for split, colours in _COLOURS.items() if colour in colours)


class _GreaterThan:
    """What is said of the task, whatever is asked."""

    name = "greater_than"
    title = "Greater-than"
    description = (
        "“The war lasted from the year 1734 to the year 17” is followed by “35” or later, not by “34” or earlier; "
        "where digits are single tokens, “… to the year 173” by “5” or more. "
        "The counterfactual prompt starts in year 01 of the century, or 0 of the decade."
    )
    source = "Own templates, after Hanna et al. 2023 (arXiv 2305.00586)"


@dataclass(frozen=True)
class _Fitted(_GreaterThan):
    """The task for tokenizers with these endings."""

    ask: Ask
    endings: Endings

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`."""
        made = {split: self._split(split, size, seed) for split, size in sizes.items()}
        return Splits(
            **made,
            held_out=(
                "Each split has start years of its own (century and year of one prompt never occur together in another "
                f"split) and events of its own; those of the test prompts: {', '.join(EVENTS['test'])}."
            ),
        )

    def _starts(self, split: str) -> tuple[int, ...]:
        starts = []
        for year in (100 * century + rest for century in self.endings for rest in range(EARLIEST, LATEST + 1)):
            # Something must be greater and something less, and the year itself must be as many tokens as any other.
            able = {
                "years": {year % 100, 1} <= self.endings[year // 100],
                "units": 1 <= year % 10 <= 8,
                "decade": 1 <= year // 10 % 10 <= 8,
            }[self.ask]
            if able and split_of(year) == split:
                starts.append(year)
        return tuple(starts)

    def _split(self, split: str, size: int, seed: int) -> tuple[Example, ...]:
        rng = generator(self.name, split, seed)
        starts = self._starts(split)
        shape = (len(starts), len(EVENTS[split]), len(TEMPLATES))
        examples = []
        for _, (start, event, template) in draw(rng, self.name, split, size, ("greater",), shape):
            sentence = TEMPLATES[template].replace("{event}", EVENTS[split][event])
            examples.append(self._example(sentence, starts[start]))
        return tuple(examples)

    def _example(self, sentence: str, year: int) -> Example:
        if self.ask == "years":
            stem, own, early = year // 100, year % 100, year // 100 * 100 + 1
            answers = {end: f"{end:02d}" for end in sorted(self.endings[stem])}
        elif self.ask == "units":
            stem, own, early = year // 10, year % 10, year // 10 * 10
            answers = {end: str(end) for end in range(10)}
        else:
            stem, own, early = year // 100, year // 10 % 10, year // 100 * 100 + 1
            answers = {end: str(end) for end in range(10)}
        return Example(
            prompt=sentence.format(start=year, stem=stem),
            counterfactual=sentence.format(start=early, stem=stem),
            correct=tuple(answer for end, answer in answers.items() if end > own),
            wrong=tuple(
                answer for end, answer in answers.items() if end < own or (end == own and self.ask != "decade")
            ),
            group=str(year // 100),
        )


@register("greater_than")
@dataclass(frozen=True)
class GreaterThan(_GreaterThan):
    """In which year may it have ended? `ask`: see above. Without a tokenizer at hand, auto means years."""

    ask: Ask = "auto"

    def __post_init__(self) -> None:
        check_option(self.name, "ask", self.ask, Ask)

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`."""
        return _Fitted("years" if self.ask == "auto" else self.ask, _ALL).splits(sizes, seed)

    def fit(self, tokenizer: Any) -> Task:
        """See `FitsTokenizer.fit`."""
        endings = {century: _endings(tokenizer, century) for century in CENTURIES}
        endings = {century: found for century, found in endings.items() if len(found) >= _ENDINGS_NEEDED}
        if self.ask in ("auto", "years") and endings:
            return _Fitted("years", endings)
        if self.ask == "years":
            raise TaskError(
                f"the task {self.name!r} was asked for two-digit years, but this tokenizer does not cut a year into "
                "two tokens of two digits; use ask='units'"
            )
        return _Fitted("units" if self.ask == "auto" else self.ask, _ALL)


def _endings(tokenizer: Any, century: int) -> frozenset[int]:
    stem = f"the year {century}"
    before = token_ids(tokenizer, stem)
    unknown = getattr(tokenizer, "unk_token_id", None)
    found = set()
    for end in range(100):
        ids = token_ids(tokenizer, f"{stem}{end:02d}")
        if ids[:-1] == before and ids[-1] != unknown:
            found.add(end)
    return frozenset(found)
