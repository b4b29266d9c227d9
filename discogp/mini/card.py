"""The embedded model's card: what it is, how it was made, what it can do."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import transformers

from discogp.mini import text as mini_text
from discogp.mini.record import TrainingRun

if TYPE_CHECKING:
    from discogp.mini.record import Score, Training

_PAGE = """---
license: mit
language: en
library_name: transformers
---

# mini: a teaching model

{what}

{shape}
{words}

## How it was made

```
python -m discogp.mini.train --out assets/mini --seed {seed}
```

{steps}

{text}

## Held-out accuracy

{measured}

| Task | Split | Prompts | Accuracy | First | Mean logit difference |
|---|---|---|---|---|---|
{rows}
"""


def card(
    settings: Training,
    run: TrainingRun,
    n_parameters: int,
    n_vocabulary: int,
    scores: Mapping[str, Mapping[str, Score]],
) -> str:
    """The model card in Markdown. `scores`: by split and task."""
    rows = "\n".join(
        f"| `{task}` | {split} | {s.n} | {s.accuracy:.1%} | {s.top1:.1%} | {s.logit_diff:.2f} |"
        for task in mini_text.TASKS
        for split, s in ((split, scores[split][task]) for split in scores)
    )
    shares = ", ".join(f"`{task}` {share:.0%}" for task, share in mini_text.SHARES.items())
    parts = (
        """A small GPT-2 trained on **synthetic text**, about a toy world of some nine hundred words. It is made to be
        taken apart: the built-in tasks for circuit discovery work on it within seconds on a CPU, without any download.
        It is no language model for any other use, and what is found in it says nothing by itself about models trained
        on real text.""",
        f"""- Architecture: `GPT2LMHeadModel`, {settings.n_layers} layers × {settings.n_heads} heads, d_model
        {settings.d_model}, d_mlp {4 * settings.d_model}, context {mini_text.CONTEXT}, no dropout, {n_parameters:,}
        parameters, stored as float16.""",
        f"""- Tokenizer: whole words, {n_vocabulary} entries; as in GPT-2 the space belongs to the word (` Mary` and
        `Mary` are two tokens), and a number is cut after every second digit: the year ` 1734` is ` 17` and `34`. Put
        the beginning-of-sequence token `{mini_text.BOS}` in front of every prompt. Other words are
        `{mini_text.UNKNOWN}`.""",
        f"""{settings.steps} steps of {settings.batch} documents; AdamW, learning rate {settings.learning_rate:g},
        weight decay {settings.weight_decay:g}, linear warm-up over {settings.warm_up} steps, then cosine; products in
        bfloat16. Words that follow from those before (answers of prompts, pronouns after a name) are weighted
        {settings.answer_weight:g} times, names and random words said again {settings.again_weight:g} times. It took
        {run.wall / 60:.1f} minutes ({run.processor / 60:.1f} minutes of processor time over all threads) with
        {run.threads} threads on a shared machine with {os.cpu_count()} CPU cores and no GPU; torch
        {torch.__version__.split("+")[0]}, transformers {transformers.__version__}.""",
        f"""The text (`discogp/mini/text.py`): {sum(mini_text.SHARES.values()):.0%} training prompts of the tasks
        with their answers ({shares}); the rest plain sentences. Every word of the validation and test prompts occurs in
        training, but never in a combination that such a prompt can have (`discogp/mini/leaks.py`): no two of
        their names in one document and none of them in a prompt, none of their pairs of place and object, none of their
        nouns with a verb or determiner of the task, none of their start years or events, argument names in a function,
        or ways to ask for a capital. The capitals themselves are facts and are told. Random words follow one another in
        other pairs than in training. The script checks every document and refuses to train otherwise. What the test
        measures is therefore new combinations of known words.""",
        """Measured on the saved files in float32. “Accuracy”: the best right answer scores above the best wrong one;
        “first”: it scores highest of the whole vocabulary (in `agreement/determiner_noun` nothing says which noun
        follows).""",
    )
    what, shape, words, steps, text, measured = (_filled(part) for part in parts)
    return _PAGE.format(
        what=what, shape=shape, words=words, steps=steps, text=text, measured=measured, rows=rows, seed=run.seed
    )


def _filled(text: str) -> str:
    """A paragraph, or an item of a list, in lines of at most 120 characters."""
    indent = "  " if text.startswith("- ") else ""
    return textwrap.fill(
        " ".join(text.split()), 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
