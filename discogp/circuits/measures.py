"""The measures there are, in the order in which every table shows them. Needs no torch: it says what they are.

Four are of every outcome and have fast ways of their own. A further one is one file in `discogp/evaluation/further/`
that registers a `Measure` with a function; page, command line, JSON and saved circuits then show it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from discogp.errors import ConfigError
from discogp.registry import Registry


@dataclass(frozen=True)
class Measure:
    """A mean over prompts. `better`: +1 where more is better, −1 where less is. `percent`: a share, 0–1.

    `of`, of further measures: (logits [b, V], the batch's `Prompts`, the full model's log-probabilities [b, V]) -> [b].
    Answers of several tokens come as if they were one: the vocabulary is then the prompt's candidates and, as the last
    token, all else; `correct` and `wrong` are places in it, and both logits are log-probabilities.
    """

    name: str
    title: str
    short: str
    """The title where columns are narrow."""
    help: str
    better: int
    percent: bool = False
    of: Callable[[Any, Any, Any], Any] | None = None


CORE = (
    Measure(
        "accuracy",
        "accuracy",
        "Accuracy",
        "The right answer scores above every wrong one. Chance is 50 % with two.",
        1,
        True,
    ),
    Measure("top1", "top-1", "Top-1", "The right answer is the likeliest of all that could be said.", 1, True),
    Measure(
        "kl",
        "KL (nats)",
        "KL",
        "Divergence from the full model over the whole vocabulary, along the right answer, in nats. 0: the same.",
        -1,
    ),
    Measure(
        "logit_diff",
        "logit difference",
        "Logit diff.",
        "Mean logit of the right answer minus that of the wrong one; of several tokens, log-probability (nats).",
        1,
    ),
)
FURTHER: Registry[Measure] = Registry("measure", ("discogp.evaluation.further",), ConfigError)


def register(measure: Measure) -> Measure:
    """Make a further measure known. ConfigError for a name that is taken, or one without a function."""
    if measure.name in {"n", *(core.name for core in CORE)} or measure.of is None:
        raise ConfigError(f"{measure.name!r} cannot be a further measure: the name is taken or there is no function")
    return FURTHER.add(measure.name, measure)


def measures() -> tuple[Measure, ...]:
    """All of them."""
    return (*CORE, *FURTHER.values())
