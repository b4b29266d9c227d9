"""BLiMP: pairs of sentences that differ in one respect, the first of them grammatical. 67 paradigms of 1,000 pairs.

The prompt is what the two sentences have in common, the answers are what each has next; nothing after that point is
kept, since it would give a left-to-right model a prompt in which the answer has been passed already. Where they part is
settled in tokens when the pair is encoded. A pair that parts at its first token has no prompt: six paradigms have none
other, and `tasks check` scores their sentences whole.

Source: Warstadt et al. 2020 (arXiv 1912.00582), files of github.com/alexwarstadt/blimp or hub data set nyu-mll/blimp.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from discogp.errors import TaskError
from discogp.tasks.base import Example, Splits, SplitSizes, register
from discogp.tasks.from_files.lines import Problems, json_objects, read_text_lines, texts_of
from discogp.tasks.from_files.pool import Pool, split_pool
from discogp.tasks.from_files.published import published_file

_FINAL_MARKS = ".?!,;:"
IDENTICAL = "the two sentences are the same"

# Phenomenon: paradigms. Marked * are those of BLiMP's one-prefix method, where the common prefix decides which word
# comes next; marked ~ those of its two-prefix method, where the sentences part before the word that tells them apart.
_PARADIGMS = """
anaphor agreement: anaphor_gender_agreement* anaphor_number_agreement*
argument structure: causative drop_argument inchoative intransitive passive_1 passive_2 transitive~
binding: principle_A_c_command* principle_A_case_1* principle_A_case_2* principle_A_domain_1* principle_A_domain_2*
    principle_A_domain_3~ principle_A_reconstruction
control and raising: existential_there_object_raising~ existential_there_subject_raising expletive_it_object_raising~
    tough_vs_raising_1 tough_vs_raising_2
determiner–noun agreement: determiner_noun_agreement_1* determiner_noun_agreement_2~
    determiner_noun_agreement_irregular_1* determiner_noun_agreement_irregular_2~ determiner_noun_agreement_with_adj_2~
    determiner_noun_agreement_with_adj_irregular_1* determiner_noun_agreement_with_adj_irregular_2~
    determiner_noun_agreement_with_adjective_1*
ellipsis: ellipsis_n_bar_1 ellipsis_n_bar_2
filler–gap dependency: wh_questions_object_gap wh_questions_subject_gap wh_questions_subject_gap_long_distance
    wh_vs_that_no_gap wh_vs_that_no_gap_long_distance wh_vs_that_with_gap wh_vs_that_with_gap_long_distance
irregular forms: irregular_past_participle_adjectives~ irregular_past_participle_verbs*
island effects: adjunct_island complex_NP_island coordinate_structure_constraint_complex_left_branch~
    coordinate_structure_constraint_object_extraction left_branch_island_echo_question~
    left_branch_island_simple_question sentential_subject_island wh_island*
NPI licensing: matrix_question_npi_licensor_present~ npi_present_1* npi_present_2* only_npi_licensor_present~
    only_npi_scope~ sentential_negation_npi_licensor_present~ sentential_negation_npi_scope~
quantifiers: existential_there_quantifiers_1 existential_there_quantifiers_2 superlative_quantifiers_1
    superlative_quantifiers_2~
s-selection: animate_subject_passive* animate_subject_trans~
subject–verb agreement: distractor_agreement_relational_noun* distractor_agreement_relative_clause*
    irregular_plural_subject_verb_agreement_1* irregular_plural_subject_verb_agreement_2~
    regular_plural_subject_verb_agreement_1* regular_plural_subject_verb_agreement_2~
"""


def _phenomena() -> dict[str, tuple[str, str]]:
    """Paradigm: (phenomenon, mark)."""
    found = {}
    for block in _PARADIGMS.strip().replace("\n    ", " ").split("\n"):
        phenomenon, _, names = block.partition(": ")
        for name in names.split():
            found[name.rstrip("*~")] = (phenomenon, name[-1] if name[-1] in "*~" else "")
    return found


PARADIGMS: Mapping[str, tuple[str, str]] = _phenomena()
_METHOD = {
    "*": "What the sentences share decides which word may follow.",
    "~": "The sentences part before the word that tells them apart, so the prompt does not decide the answer.",
    "": "What makes the wrong sentence wrong may lie behind the word that is asked for.",
}


@dataclass(frozen=True)
class BlimpParadigm:
    """One paradigm. `data`: a file of BLiMP's format or a folder that has one; None asks the hub."""

    paradigm: str
    data: str | Path | None = None
    source = "BLiMP (Warstadt et al. 2020, arXiv 1912.00582; CC BY 4.0)"

    @property
    def name(self) -> str:
        return f"blimp/{self.paradigm}"

    @property
    def title(self) -> str:
        return f"BLiMP {self.paradigm.replace('_', ' ')}"

    @property
    def description(self) -> str:
        phenomenon, method = PARADIGMS[self.paradigm]
        return f"Which sentence of a pair goes on rightly after what both share? {phenomenon}. {_METHOD[method]}"

    def pool(self) -> Pool:
        """See `PooledTask.pool`."""
        path = published_file("blimp", f"{self.paradigm}.jsonl", self.data)
        examples, dropped, problems = _read(path, path.stat().st_mtime_ns)
        method = PARADIGMS[self.paradigm][1]
        return Pool(examples, dict(dropped), (*self._notes(), *problems.notes()), paired=method == "*", files=(path,))

    def split(self, examples: Sequence[Example], sizes: SplitSizes, seed: int) -> Splits:
        """See `PooledTask.split`."""
        return split_pairs(self.name, examples, sizes, seed)

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """See `Task.splits`."""
        return self.split(self.pool().examples, sizes, seed)

    def _notes(self) -> tuple[str, ...]:
        phenomenon, method = PARADIGMS[self.paradigm]
        if method == "~" and "agreement" in phenomenon:
            other = "agreement_with_adjective_1" if self.paradigm.endswith("_with_adj_2") else "…_1"
            return (
                f"{self.name}: the sentences part at the word that should agree with a later one, before anything says "
                f"which is right, so about 50 % is all that can be had and a circuit means nothing; take {other}",
            )
        if method != "*":
            return (f"{self.name} is not one of BLiMP's one-prefix paradigms. {_METHOD[method]}",)
        return ()


def _register(paradigm: str) -> None:
    def make(data: str | Path | None = None) -> BlimpParadigm:
        return BlimpParadigm(paradigm, data)

    register(f"blimp/{paradigm}")(make)


for _paradigm in PARADIGMS:
    _register(_paradigm)


def read_blimp(path: Path) -> tuple[Example, ...]:
    """One example a line, in order. TaskError names the file and the lines that cannot be read, be it one: whoever
    asks for examples only is not told of those that are left out."""
    examples, _, problems = _read(path, 0)
    problems.refuse_if_any()
    return examples


# A page draws often, and a check reads twice: the last files are kept while they are unchanged.
@lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> tuple[tuple[Example, ...], Counter[str], Problems]:
    """Examples; how many lines are none, by reason; what is wrong with those that cannot be read."""
    problems = Problems(path, "BLiMP file")
    if path.suffix == ".parquet":
        rows = _parquet_rows(path)
    else:
        rows = list(json_objects(read_text_lines(path, "BLiMP file", problems), problems))
    examples = []
    dropped: Counter[str] = Counter()
    for number, row in rows:
        pair = texts_of(row, ("sentence_good", "sentence_bad"), "a sentence", number, problems)
        if pair is None:
            continue
        if pair[0].split() == pair[1].split():
            dropped[IDENTICAL] += 1
        else:
            examples.append(_example(*pair))
    problems.refuse_if_empty(len(examples))
    return tuple(examples), dropped + problems.dropped, problems


def _parquet_rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The hub keeps the same columns in this format."""
    import pandas

    try:
        frame = pandas.read_parquet(path, columns=["sentence_good", "sentence_bad"])
    except (OSError, ValueError, KeyError) as error:
        raise TaskError(f"cannot read {str(path)!r} as BLiMP's parquet file: {error}") from error
    return [(number, {str(k): v for k, v in row.items()}) for number, row in enumerate(frame.to_dict("records"), 1)]


def _example(good: str, bad: str) -> Example:
    """The pair cut at a word, as people read it; encoding cuts it at a token."""
    a, b = good.split(), bad.split()
    shared = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    correct, wrong = (" " + words[shared].rstrip(_FINAL_MARKS) if shared < len(words) else "" for words in (a, b))
    return Example(" ".join(a[:shared]), None, (correct,), (wrong,), group=correct.strip(), sentences=(good, bad))


def split_pairs(task: str, examples: Sequence[Example], sizes: SplitSizes, seed: int) -> Splits:
    """Splits that share no prompt and, where there are enough, no prompt's last word (in many paradigms, the verb)."""
    last_word = "No prompt, and no last word of a prompt, occurs in more than one split."
    families = (
        (lambda e: (e.prompt.split() or [""])[-1], last_word),
        (lambda e: e.prompt, "No prompt is in two splits."),
    )
    return split_pool(task, examples, families, sizes, seed)


def blimp_splits(task: str, path: Path, sizes: SplitSizes, seed: int) -> Splits:
    """Splits of one BLiMP file, for tasks of our own that take it instead of their generator."""
    return split_pairs(f"{task} from {path.name}", read_blimp(path), sizes, seed)
