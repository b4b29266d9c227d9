"""The data sets of auto-circuit, github.com/UFO-101/auto-circuit: `clean`, `corrupt`, `answers`, `wrong_answers`.

Its files are one JSON object whose `prompts` are the rows; `seq_labels` and `word_idxs`, beside them, name positions
and are passed over. Prompts and answers are tokenized there exactly as they are written.
"""

from __future__ import annotations

from discogp.tasks.from_files.forms.base import Cells, Form, Unfit, first_of, kept, listed, register

_CORRUPT = "corrupt|corrupted"


def _convert(cells: Cells) -> Cells:
    if isinstance(cells["clean"], list):
        raise Unfit("column 'clean': the prompt is a list of numbers; only prompts that are texts can be asked")
    return kept(
        cells,
        prompt=cells["clean"],
        counterfactual=first_of(cells, _CORRUPT),
        correct=listed(cells["answers"]),
        wrong=listed(cells["wrong_answers"]),
        exact=True,
    )


register(
    "auto_circuit",
    Form(
        "auto-circuit",
        ("clean", _CORRUPT, "answers", "wrong_answers"),
        "clean → prompt, corrupt → counterfactual, answers → correct, wrong_answers → wrong, all exactly as written",
        _convert,
    ),
)
