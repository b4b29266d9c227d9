"""PARAREL: facts of one relation ("The capital of Thailand is" -> " Bangkok"), the answer chosen among the relation's.

The prompt is the relation's first pattern that ends in the object, up to there. The right answer is the object, the
wrong ones are the objects of the relation's other facts; those that are several tokens are no candidates, unless
`answers` is "whole". The counterfactual is another subject of the same split with as many tokens and another object.

Source: Elazar et al. 2021 (arXiv 2102.01017), after T-REx and LAMA: `trex_lms_vocab/P36.jsonl` has the facts,
`pattern_data/graphs_json/P36.jsonl` the patterns. The 21 relations are those of arXiv 2407.03779.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from discogp.errors import TaskError
from discogp.paths import user_path
from discogp.tasks.base import Example, Splits, SplitSizes, check_option, register
from discogp.tasks.from_files.facts import split_facts
from discogp.tasks.from_files.lines import Problems, json_objects, read_text_lines, texts_of
from discogp.tasks.from_files.pool import Pool
from discogp.tasks.from_files.published import published_file
from discogp.terms import Answers

RELATIONS: Mapping[str, str] = {
    "P19": "place of birth",
    "P20": "place of death",
    "P30": "continent",
    "P36": "capital",
    "P37": "official language",
    "P103": "native language",
    "P127": "owner",
    "P136": "genre",
    "P138": "named after",
    "P140": "religion",
    "P159": "headquarters",
    "P176": "manufacturer",
    "P264": "record label",
    "P279": "subclass of",
    "P364": "original language of a film or programme",
    "P407": "language of a work",
    "P413": "position played",
    "P449": "original broadcaster",
    "P495": "country of origin",
    "P740": "place of foundation",
    "P1376": "capital of",
}
REPEATED = "the fact stands in an earlier line"


@dataclass(frozen=True)
class PararelRelation:
    """One relation. `data`: its file of facts, or a folder that has PARAREL's files."""

    relation: str
    data: str | Path | None = None
    answers: Answers = "token"
    source = "PARAREL (Elazar et al. 2021, arXiv 2102.01017; MIT), facts of T-REx"

    def __post_init__(self) -> None:
        check_option(self.name, "answers", self.answers, Answers)

    @property
    def name(self) -> str:
        return f"pararel/{self.relation}"

    @property
    def title(self) -> str:
        return f"PARAREL {self.relation}, {RELATIONS[self.relation]}"

    @property
    def description(self) -> str:
        return (
            f"Facts of one relation ({RELATIONS[self.relation]}): the object of a fact, among the objects of all. "
            "The counterfactual prompt has another subject."
        )

    def pool(self) -> Pool:
        """See `PooledTask.pool`."""
        file = f"{self.relation}.jsonl"
        given = user_path(self.data, TaskError) if self.data is not None else None
        # Given the file of facts itself, its patterns lie where PARAREL has them, two folders beside.
        folder = given.resolve().parent.parent if given is not None and given.is_file() else given
        facts = published_file("pararel", f"trex_lms_vocab/{file}", given)
        patterns = published_file("pararel", f"pattern_data/graphs_json/{file}", folder)
        rows, problems = _facts(facts, facts.stat().st_mtime_ns)
        pattern = _pattern(patterns)
        objects = dict.fromkeys(found for _, found in rows)
        if len(objects) < 2:
            raise TaskError(f"the PARAREL file {str(facts)!r} has one object only, so there is no wrong answer")
        others = {one: tuple(f" {other}" for other in objects if other != one) for one in objects}
        distinct = dict.fromkeys(rows)
        examples = tuple(
            Example(pattern.replace("[X]", subject), None, (f" {found}",), others[found], group=found)
            for subject, found in distinct
        )
        several = sum(n > 1 for n in Counter(subject for subject, _ in distinct).values())
        notes = ()
        if several:
            notes = (
                f"{self.name}: {several} subjects have several objects; each is an item of its own, in which the "
                "others count as wrong",
            )
        repeats = len(rows) - len(distinct)
        dropped = problems.dropped + Counter({REPEATED: repeats})
        return Pool(examples, dict(dropped), (*notes, *problems.notes()), paired=True, files=(facts, patterns))

    def split(self, examples: Sequence[Example], sizes: SplitSizes, seed: int) -> Splits:
        """See `PooledTask.split`."""
        return split_facts(self.name, examples, sizes, seed)

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`."""
        return self.split(self.pool().examples, sizes, seed)


def _register(relation: str) -> None:
    def make(data: str | Path | None = None, answers: Answers = "token") -> PararelRelation:
        return PararelRelation(relation, data, answers)

    register(f"pararel/{relation}")(make)


for _relation in RELATIONS:
    _register(_relation)


@lru_cache(maxsize=4)
def _facts(path: Path, changed: int) -> tuple[tuple[tuple[str, str], ...], Problems]:
    """(subject, object) of every line, and what is wrong with the others."""
    problems = Problems(path, "PARAREL file")
    facts: list[tuple[str, str]] = []
    for number, row in json_objects(read_text_lines(path, "PARAREL file", problems), problems):
        fact = texts_of(row, ("sub_label", "obj_label"), "a name", number, problems)
        if fact is not None:
            facts.append((fact[0], fact[1]))
    problems.refuse_if_empty(len(facts))
    return tuple(facts), problems


def _pattern(path: Path) -> str:
    """What stands before the object in the first pattern that ends with it, or else in the first that has it last."""
    problems = Problems(path, "PARAREL pattern file")
    rows = json_objects(read_text_lines(path, "PARAREL pattern file", problems), problems)
    patterns = [row["pattern"] for _, row in rows if isinstance(row.get("pattern"), str)]
    problems.refuse_if_empty(len(patterns))
    usable = [pattern for pattern in patterns if -1 < pattern.find("[X]") < pattern.find("[Y]")]
    ending = [pattern for pattern in usable if pattern.rstrip(" .").endswith("[Y]")]
    if not usable:
        raise TaskError(f"the PARAREL pattern file {str(path)!r} has no pattern in which [X] comes before [Y]")
    return (ending or usable)[0].partition("[Y]")[0].rstrip()
