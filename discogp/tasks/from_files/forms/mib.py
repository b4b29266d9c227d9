"""The rows of MIB (Mueller et al. 2025, arXiv 2504.13151), hub data sets mib-bench/*: IOI, MCQA, ARC and arithmetic.

A row has its `prompt`; its `choices` (names, or an object whose `label` is the list) of which `answerKey` is the place
of the right one, or its `label`, a number; and, as `…_counterfactual`, prompts that change one variable. Of these the
one that MIB's circuit track takes is the counterfactual, and its answer is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from discogp.errors import brief
from discogp.tasks.from_files.forms.base import Cells, Form, Unfit, kept, register

_SUFFIX = "_counterfactual"
# What the circuit track takes, task by task; another one where a row lacks them.
_FIRST = ("s2_io_flip_counterfactual", "symbol_counterfactual", "random_counterfactual")


def _answer(value: Any, column: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise Unfit(f"column {column!r}: a text or a whole number needed, got {brief(value)}")
    return str(value)


def _choices(cells: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The right choice and the others."""
    choices = cells.get("choices")
    labels = choices.get("label") if isinstance(choices, Mapping) else choices
    if not isinstance(labels, list) or not labels:
        raise Unfit(f"column 'choices': a list, or an object with a list 'label', needed, got {brief(choices)}")
    texts = [_answer(label, "choices") for label in labels]
    key = next((cells[name] for name in ("answerkey", "answerKey") if name in cells), None)
    if isinstance(key, str) and key in texts:
        key = texts.index(key)
    elif isinstance(key, str) and key.strip().isdecimal() and len(key) < 4:
        key = int(key)
    if isinstance(key, bool) or not isinstance(key, int) or not 0 <= key < len(texts):
        raise Unfit(f"column 'answerKey': the place of a choice, 0 to {len(texts) - 1}, needed, got {brief(key)}")
    return texts[key], [text for place, text in enumerate(texts) if place != key]


def _label(cells: Mapping[str, Any]) -> tuple[str, list[str]]:
    return _answer(cells.get("label"), "label"), []


def _converter(read: Callable[[Mapping[str, Any]], tuple[str, list[str]]]) -> Callable[[Cells], Cells]:
    def convert(cells: Cells) -> Cells:
        right, wrong = read(cells)
        others = [name for name in cells if name.endswith(_SUFFIX) and isinstance(cells[name], Mapping)]
        for name in sorted(others, key=lambda name: (name not in _FIRST, others.index(name))):
            other = cells[name]
            if not isinstance(other.get("prompt"), str):
                continue
            answer = read(other)[0]
            if answer != right:
                return kept(
                    cells,
                    prompt=cells["prompt"],
                    counterfactual=other["prompt"],
                    correct=[right],
                    wrong=list(dict.fromkeys([*wrong, answer])),
                )
        if not wrong:
            raise Unfit(f"no column …{_SUFFIX} has a prompt with another answer, so there is no wrong answer")
        return kept(cells, prompt=cells["prompt"], correct=[right], wrong=wrong)

    return convert


_TAKEN = "the …_counterfactual of MIB's circuit track → counterfactual, and its answer → wrong"
register(
    "mib_choices",
    Form(
        "MIB with choices",
        ("prompt", "choices", "answerkey"),
        f"the choice at answerKey → correct, the other choices → wrong; {_TAKEN}",
        _converter(_choices),
    ),
)
register(
    "mib_label",
    Form(
        "MIB arithmetic",
        ("prompt", "label", "random_counterfactual"),
        f"label → correct; {_TAKEN}",
        _converter(_label),
        unless=("choices",),
    ),
)
