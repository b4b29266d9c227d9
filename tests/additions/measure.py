"""A measure: goes to `discogp/evaluation/further/`."""

from __future__ import annotations

from typing import Any

from discogp.circuits.measures import Measure, register


def _probability(logits: Any, prompts: Any, full_log_probs: Any) -> Any:
    right = logits.softmax(-1).gather(1, prompts.correct.clamp_min(0))
    return (right * (prompts.correct >= 0)).sum(1)


register(
    Measure(
        "probability",
        "probability",
        "Probability",
        "How likely a right answer is among all tokens.",
        1,
        True,
        _probability,
    )
)
