"""LRE: 47 relations of four kinds ("The capital of Peru is the city of" -> " Lima"), the answer among the relation's.

The prompt is the relation's first template for use without examples (`prompt_templates_zs`, else `prompt_templates`).
The right answers are the objects of the subject, the wrong ones those of the relation's other subjects; those that are
several tokens are no candidates, unless `answers` is "whole". The counterfactual is another subject of the same split
with as many tokens and another object.

Source: Hernandez et al. 2024 (arXiv 2308.09124), files of github.com/evandez/relations, `data/factual/….json`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from discogp.errors import TaskError, brief
from discogp.tasks.base import Example, Splits, SplitSizes, check_option, register
from discogp.tasks.from_files.facts import fact_examples, split_facts
from discogp.tasks.from_files.forms.json_table import Listing, read_document
from discogp.tasks.from_files.lines import Problems, read_text, texts_of
from discogp.tasks.from_files.pool import Pool
from discogp.tasks.from_files.published import published_file
from discogp.terms import Answers

_WHAT, _ORIGIN = "LRE file", "github.com/evandez/relations"
_BY_KIND = """
bias: characteristic_gender degree_gender name_birthplace name_gender name_religion occupation_age occupation_gender
commonsense: fruit_inside_color fruit_outside_color object_superclass substance_phase task_done_by_person
    task_done_by_tool word_sentiment work_location
factual: city_in_country company_ceo company_hq country_capital_city country_currency country_language
    country_largest_city food_from_country landmark_in_country landmark_on_continent person_band_lead_singer
    person_father person_mother person_native_language person_occupation person_plays_instrument
    person_plays_position_in_sport person_plays_pro_sport person_university pokemon_evolutions presidents_birth_year
    presidents_election_year product_by_company star_constellation superhero_archnemesis superhero_person
linguistic: adj_antonym adj_comparative adj_superlative verb_past_tense word_first_letter word_last_letter
"""
# Relation: the kind it is of, which is the folder of its file.
RELATIONS: Mapping[str, str] = {
    name: kind
    for block in _BY_KIND.strip().replace("\n    ", " ").split("\n")
    for kind, _, names in [block.partition(": ")]
    for name in names.split()
}
REPEATED = "the pair stands in an earlier line"
# Some names are escaped twice: the six characters \u00ed stand in them for í.
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


@dataclass(frozen=True)
class _Relation:
    """What a file says. `facts`: subject -> its objects, in the order of the file."""

    template: str
    facts: Mapping[str, tuple[str, ...]]
    dropped: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class LreRelation:
    """One relation. `data`: its file, or a folder that has LRE's files. `answers`: of one token, or whole."""

    relation: str
    data: str | Path | None = None
    answers: Answers = "token"
    source = "LRE relations (Hernandez et al. 2024, arXiv 2308.09124; MIT)"

    def __post_init__(self) -> None:
        check_option(self.name, "answers", self.answers, Answers)

    @property
    def name(self) -> str:
        return f"lre/{self.relation}"

    @property
    def title(self) -> str:
        return f"LRE {self.relation.replace('_', ' ')}"

    @property
    def description(self) -> str:
        return (
            f"One {RELATIONS[self.relation]} relation: the object that belongs to a subject, among the objects of all. "
            "The counterfactual prompt has another subject."
        )

    def pool(self) -> Pool:
        """See `PooledTask.pool`."""
        path = published_file("lre", f"{RELATIONS[self.relation]}/{self.relation}.json", self.data)
        found = _read(path, path.stat().st_mtime_ns)
        examples = fact_examples(found.facts, found.template, f"the {_WHAT} {str(path)!r}")
        several = sum(len(right) > 1 for right in found.facts.values())
        notes = (f"{self.name}: of {several} subjects several objects are right",) if several else ()
        return Pool(examples, dict(found.dropped), (*notes, *found.notes), paired=True, files=(path,))

    def split(self, examples: Sequence[Example], sizes: SplitSizes, seed: int) -> Splits:
        """See `PooledTask.split`."""
        return split_facts(self.name, examples, sizes, seed)

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`."""
        return self.split(self.pool().examples, sizes, seed)


def _register(relation: str) -> None:
    def make(data: str | Path | None = None, answers: Answers = "token") -> LreRelation:
        return LreRelation(relation, data, answers)

    register(f"lre/{relation}")(make)


for _relation in RELATIONS:
    _register(_relation)


@lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> _Relation:
    what = f"the {_WHAT} {path.name!r}"
    document = read_document(read_text(path, _WHAT), what)
    samples = document.get("samples") if isinstance(document, dict) else None
    if not isinstance(samples, Listing):
        raise TaskError(f"{what} has no list 'samples' of subjects and objects; give a file of {_ORIGIN}")
    problems = Problems(path, _WHAT)
    facts: dict[str, dict[str, None]] = {}
    repeats = escaped = 0
    for line, sample in samples.items:
        if not isinstance(sample, dict):
            problems.add(line, f"a subject and an object needed, got {brief(sample)}")
            continue
        pair = texts_of(sample, ("subject", "object"), "a name", line, problems)
        if pair is None:
            continue
        subject, object_ = map(_unescaped, pair)
        escaped += (subject, object_) != pair
        known = facts.setdefault(subject, {})
        repeats += object_ in known
        known[object_] = None
    problems.refuse_if_empty(len(facts))
    notes = (f"{path.name}: {escaped} names were escaped twice and are read as meant",) if escaped else ()
    return _Relation(
        _template(document, what),
        {subject: tuple(objects) for subject, objects in facts.items()},
        problems.dropped + Counter({REPEATED: repeats}),
        (*notes, *problems.notes()),
    )


def _unescaped(name: str) -> str:
    halves = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), name)
    return halves.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _template(document: Mapping[str, Any], what: str) -> str:
    for key in ("prompt_templates_zs", "prompt_templates"):
        given = document.get(key)
        texts = [text for _, text in given.items if isinstance(text, str)] if isinstance(given, Listing) else []
        for text in texts:
            if text.count("{}") == 1 and not text.rstrip().endswith("{}"):
                return text.rstrip()
    raise TaskError(
        f"{what} has no template with one {{}} that is not its end, under prompt_templates_zs or prompt_templates"
    )
