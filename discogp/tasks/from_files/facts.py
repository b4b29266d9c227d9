"""Facts as prompts: a subject in a template, and the objects that belong to it against those of other subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from discogp.errors import TaskError
from discogp.tasks.base import Example, Splits, SplitSizes
from discogp.tasks.from_files.pool import split_pool


def fact_examples(facts: Mapping[str, tuple[str, ...]], template: str, what: str) -> tuple[Example, ...]:
    """An example a subject. `facts`: subject -> its objects, all of which are right; `template` has its place as {}.

    TaskError, with `what` holds the facts, if all have the same object.
    """
    objects = dict.fromkeys(object_ for several in facts.values() for object_ in several)
    if len(objects) < 2:
        raise TaskError(f"{what} has one object only, so there is no wrong answer")
    wrong: dict[tuple[str, ...], tuple[str, ...]] = {}
    examples: list[Example] = []
    for subject, right in facts.items():
        if right not in wrong:
            wrong[right] = tuple(f" {other}" for other in objects if other not in right)
        if wrong[right]:
            answers = tuple(f" {object_}" for object_ in right)
            examples.append(Example(template.replace("{}", subject), None, answers, wrong[right], group=right[0]))
    return tuple(examples)


def split_facts(task: str, examples: Sequence[Example], sizes: SplitSizes, seed: int) -> Splits:
    """Splits that share no subject."""
    families = ((lambda e: e.prompt, "No subject is in more than one split; answers are."),)
    return split_pool(task, examples, families, sizes, seed)
