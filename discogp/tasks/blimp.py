"""Read a file in BLiMP's JSON-lines format: pairs of sentences that part at one word.

A line gives `sentence_good` and `sentence_bad`. The prompt is what the two have in common, word by word, and the
answers are the first words in which they differ. Nothing after that point is kept: words behind the answer would
give a left-to-right model a prompt in which the answer has been passed already.
Source: Warstadt et al. 2020 (arXiv 1912.00582).
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from pathlib import Path

from discogp.errors import TaskError
from discogp.tasks.base import Example, Splits, SplitSizes, check_maximum

_FINAL_MARKS = ".?!,;:"


def read_blimp(path: Path) -> tuple[Example, ...]:
    """One example a line, repeated prompts left out. TaskError names the file and the line of what cannot be read."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TaskError(
            f"cannot read the BLiMP file {str(path)!r}: {error.strerror or error}; give the path of a .jsonl file"
        ) from error
    examples: dict[str, Example] = {}
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if not line.strip():
            continue
        example = _parse(line, f"{path.name}, line {number}")
        # The first of two lines with one prompt is kept; different answers to it would contradict each other.
        examples.setdefault(example.prompt, example)
    if not examples:
        raise TaskError(f"the BLiMP file {str(path)!r} has no sentence pair; every line must be one JSON object")
    return tuple(examples.values())


def _parse(line: bytes, where: str) -> Example:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise TaskError(f"{where}: not UTF-8 ({error.reason} at byte {error.start}); save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise TaskError(f"{where}: not JSON ({error.msg} at column {error.colno}); every line is one object") from error
    except RecursionError as error:
        raise TaskError(f"{where}: JSON nested too deeply; every line is one flat object") from error
    if not isinstance(row, dict):
        raise TaskError(f"{where}: a JSON object is needed, got {type(row).__name__}")
    sentences = []
    for key in ("sentence_good", "sentence_bad"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise TaskError(f"{where}: the field {key!r} must be a sentence, got {row.get(key)!r}")
        sentences.append(row[key].split())
    good, bad = sentences
    shared = next((i for i, (a, b) in enumerate(zip(good, bad, strict=False)) if a != b), min(len(good), len(bad)))
    if shared == 0:
        raise TaskError(f"{where}: the sentences share no first word, so there is no prompt: {' '.join(good)!r}")
    if shared in (len(good), len(bad)):
        raise TaskError(f"{where}: the sentences must part at a word, got {' '.join(good)!r} and {' '.join(bad)!r}")
    prompt = " ".join(good[:shared])
    correct, wrong = (words[shared].rstrip(_FINAL_MARKS) for words in sentences)
    if not correct or not wrong or correct == wrong:
        raise TaskError(f"{where}: the sentences part in punctuation only: {good[shared]!r} and {bad[shared]!r}")
    _check_prefix_fields(row, prompt, where)
    return Example(prompt, None, (f" {correct}",), (f" {wrong}",), group=correct)


def _check_prefix_fields(row: dict[str, object], prompt: str, where: str) -> None:
    """BLiMP's own prefix, where a line gives one, must be the prompt cut here."""
    if not row.get("one_prefix_method"):
        return
    prefix = row.get("one_prefix_prefix")
    if isinstance(prefix, str) and prefix.split() != prompt.split():
        raise TaskError(
            f"{where}: 'one_prefix_prefix' is {prefix!r}, but the sentences share {prompt!r}; "
            "correct the line, or leave the field out"
        )


def blimp_splits(task: str, path: Path, sizes: SplitSizes, seed: int) -> Splits:
    """Splits of a BLiMP file that share neither a prompt nor a prompt's last word (in this paradigm, the verb).

    Where one word is an answer of every line, as "themselves" is in number agreement, it is right in half of the
    prompts, so that a model that always prefers it scores 0.5.
    """
    examples = read_blimp(path)
    rng = random.Random(f"{task}/{seed}")
    pivot = _pivot(examples)
    families: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        families[example.prompt.split()[-1]].append(example)
    # The largest families first and each to the split that is furthest from full: all splits fill at one rate.
    order = sorted(families.values(), key=lambda family: (-len(family), rng.random()))
    pools: dict[str, list[Example]] = {name: [] for name, _ in sizes.items()}
    wanted = dict(sizes.items())
    for family in order:
        pools[min(pools, key=lambda name: len(pools[name]) / wanted[name])].extend(family)
    made = {}
    for name, size in sizes.items():
        halves = _halves(pools[name], pivot)
        most = len(halves[0]) if pivot is None else 2 * min(len(half) for half in halves)
        check_maximum(f"{task} from {path.name}", name, size, most)
        shares = (size,) if pivot is None else (size - size // 2, size // 2)
        chosen = [e for half, share in zip(halves, shares, strict=True) for e in rng.sample(half, share)]
        rng.shuffle(chosen)
        made[name] = tuple(chosen)
    balance = "" if pivot is None else f" “{pivot.strip()}” is right in half of the prompts of every split."
    return Splits(
        **made,
        held_out=f"No prompt, and no last word of a prompt, occurs in more than one split.{balance}",
    )


def _pivot(examples: tuple[Example, ...]) -> str | None:
    """The answer that every example has, once as the correct one and once as the wrong one at least."""
    counts = Counter(answer for example in examples for answer in (*example.correct, *example.wrong))
    word, count = counts.most_common(1)[0]
    correct = sum(word in example.correct for example in examples)
    return word if count == len(examples) and 0 < correct < count else None


def _halves(pool: list[Example], pivot: str | None) -> tuple[list[Example], ...]:
    if pivot is None:
        return (pool,)
    return tuple([e for e in pool if (pivot in e.correct) is side] for side in (True, False))
