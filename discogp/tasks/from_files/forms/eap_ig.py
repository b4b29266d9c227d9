"""The files of EAP-IG (Hanna et al. 2024, arXiv 2403.17806), github.com/hannamw/EAP-IG, and of whoever follows it.

Pairs of prompts, `clean` and `corrupted`. The answers are token ids of a tokenizer that the file does not name
(`correct_idx`, `incorrect_idx`, or both as the list `label`), or words; greater-than has the two digits of the year
instead (`label`, `correct_idx` alone, or `year`), of which all later ones are right.
"""

from __future__ import annotations

import re
from typing import Any

from discogp.errors import brief
from discogp.tasks.from_files.forms.base import Cells, Form, Unfit, first_of, kept, listed, register
from discogp.tasks.token_id import TokenId

_CORRUPTED = "corrupted|corrupt"
_RIGHT, _WRONG = "correct|answer|correct_answer", "incorrect|wrong|incorrect_answer|wrong_answer"
_YEAR = "label|year|correct_idx"
_LAST_YEAR = 99


def token_ids(value: Any, column: str) -> list[TokenId]:
    """The ids of a cell: whole numbers, however a table writes them (5, "5", 5.0, "[5, 6]")."""
    found: list[TokenId] = []
    for item in listed(value):
        text = str(item).strip().removesuffix(".0") if isinstance(item, str | int | float) else ""
        try:
            found.append(TokenId(int(text) if re.fullmatch(r"\d{1,8}", text) and item is not True else -1))
        except ValueError as error:
            raise Unfit(f"column {column!r}: {error}; got {brief(value)}") from None
    if not found:
        raise Unfit(f"column {column!r}: a token id or several needed, got {brief(value)}")
    return found


def _ids(cells: Cells) -> Cells:
    right, wrong = (token_ids(cells[column], column) for column in ("correct_idx", "incorrect_idx"))
    return kept(
        cells, prompt=cells["clean"], counterfactual=first_of(cells, _CORRUPTED), correct=right, wrong=wrong, exact=True
    )


def _words(cells: Cells) -> Cells:
    right, wrong = (first_of(cells, names) for names in (_RIGHT, _WRONG))
    return kept(
        cells,
        prompt=cells["clean"],
        counterfactual=first_of(cells, _CORRUPTED),
        correct=listed(right),
        wrong=listed(wrong),
    )


def _labelled(cells: Cells) -> Cells:
    """A label is a pair of token ids, or a year of greater-than."""
    label = listed(first_of(cells, _YEAR))
    if len(label) == 2:
        return _ids({**cells, "correct_idx": label[0], "incorrect_idx": label[1]})
    if len(label) != 1:
        raise Unfit(f"column 'label': a year, or the ids of the right and the wrong token; got {brief(label)}")
    return _greater_than(cells, label[0])


def _greater_than(cells: Cells, label: Any) -> Cells:
    text = str(label).strip().removesuffix(".0") if isinstance(label, str | int | float) else ""
    if not re.fullmatch(r"\d{1,2}|\d{4}", text) or label is True:
        raise Unfit(f"column 'label': the last two digits of a year needed, got {brief(label)}")
    year = int(text[-2:])
    prompt = cells["clean"]
    century = re.search(r"(?<!\d)(\d{2})$", prompt) if isinstance(prompt, str) else None
    if century is None or f"{century[1]}{year:02d}" not in str(prompt):
        raise Unfit(f"a prompt of greater-than names the year …{year:02d} and ends in its century, got {brief(prompt)}")
    if year == _LAST_YEAR:
        raise Unfit(f"no year of two digits is later than {year}")
    return kept(
        cells,
        prompt=prompt,
        counterfactual=first_of(cells, _CORRUPTED),
        correct=[f"{later:02d}" for later in range(year + 1, _LAST_YEAR + 1)],
        wrong=[f"{earlier:02d}" for earlier in range(year + 1)],
        exact=True,
    )


register(
    "eap_ig",
    Form(
        "EAP-IG",
        ("clean", _CORRUPTED, "correct_idx", "incorrect_idx"),
        "clean → prompt, corrupted → counterfactual, correct_idx and incorrect_idx → answers, as token ids of this "
        "model's tokenizer: the file does not say whose they are, so look at the words in the preview",
        _ids,
        unless=("answers", "correct", "incorrect"),
    ),
)
register(
    "eap_ig_words",
    Form(
        "EAP-IG with words",
        ("clean", _CORRUPTED, _RIGHT, _WRONG),
        "clean → prompt, corrupted → counterfactual, correct and incorrect → answers",
        _words,
    ),
)
register(
    "eap_ig_label",
    Form(
        "EAP-IG with labels",
        ("clean", _CORRUPTED, _YEAR),
        "clean → prompt, corrupted → counterfactual; label → the later years of two digits are right, it and the "
        "earlier ones wrong; of two numbers, the token ids of the right and the wrong answer",
        _labelled,
        unless=("incorrect_idx", "correct", "incorrect", "answers"),
    ),
)
