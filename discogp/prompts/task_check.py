"""Can a model do a task? Usable items, accuracy, top-1 and logit difference of the full model, before any search."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch

from discogp.engine.masked_transformer import MaskedTransformer
from discogp.errors import TaskError
from discogp.prompts.answers import Chance, chance, full_answers, sentence_log_probs
from discogp.prompts.prepare import chance_notes, left_out_note, needs_tokenizer
from discogp.prompts.reading import pieces, reading_of
from discogp.tasks import Example, PooledTask, Prompts, SplitSizes, Task, encode, fitted
from discogp.tasks.base import FEW
from discogp.tasks.encoding import NO_PREFIX
from discogp.terms import Bos

SHOWN = 5
"""Prompts from the beginning, and from the end, that are shown as they are asked."""


@dataclass(frozen=True)
class TaskCheck:
    """What a model makes of a task. `items`: all the task has, or for a generator its test split; `kept`: those the
    tokenizer can express, items less everything in `dropped`; `scored`: of these, how many were run, and the
    accuracy, top-1 (0–1) and logit difference are theirs. `chance`: what guessing would give (0–1).

    Whole sentences (`sentences`): accuracy is the share of pairs whose right sentence has the higher log-probability,
    `logit_diff` their mean difference in nats, and there is no top-1. `prompts`: the first and the last five of those
    that can be used, with the tokens that the model really gets; `bos`: how they are opened.
    """

    task: str
    items: int
    kept: int
    dropped: dict[str, int]
    scored: int
    accuracy: float
    top1: float | None
    logit_diff: float
    chance: float
    seconds: float
    sentences: bool = False
    notes: tuple[str, ...] = ()
    held_out: str = ""
    prompts: tuple[dict[str, Any], ...] = ()
    bos: str = "auto"

    def to_json(self) -> dict[str, Any]:
        """As plain data; `kept_share` is kept of items."""
        names = ("task", "items", "kept", "dropped", "accuracy", "top1", "logit_diff", "scored", "chance")
        names += ("sentences", "bos")
        found = {name: getattr(self, name) for name in names}
        more = {"kept_share": self.kept / self.items, "seconds": round(self.seconds, 2), "notes": list(self.notes)}
        return {**found, **more, "held_out": self.held_out, "prompts": list(self.prompts)}


def check_task(
    model: MaskedTransformer, task: Task, limit: int = 1000, seed: int = 0, bos: Bos | None = None
) -> TaskCheck:
    """Encode all items of a task and run the full model on at most `limit` of them, drawn at random.

    Pairs of sentences of which none has a prompt are scored whole. `bos`: the opening token, if task and model are not
    to decide. TaskError if the task cannot be asked at all.
    """
    if limit < 1:
        raise TaskError(f"{limit} items cannot be scored; give a --limit of at least 1")
    began = time.monotonic()
    tokenizer = needs_tokenizer(model, task)
    reading = reading_of(model, task, bos)
    notes = list(model.notes)
    dropped: Counter[str] = Counter()
    held_out = ""
    if isinstance(task, PooledTask):
        pool = task.pool()
        examples, notes, dropped = pool.examples, [*notes, *pool.notes], Counter(pool.dropped)
    else:
        splits = fitted(task, tokenizer).splits(SplitSizes(), seed)
        examples, held_out = splits.test, splits.held_out
    items = len(examples) + sum(dropped.values())
    if _no_prompts(examples, tokenizer):
        return _sentences(model, task, examples, items, dropped, limit, seed, began, reading.bos)
    encoded = encode(examples, tokenizer, model.bos_id, reading)
    dropped.update(encoded.dropped)
    notes += encoded.told(notes)
    prompts = encoded.prompts
    chosen = prompts.subset(_drawn(len(prompts), limit, seed))
    answers = full_answers(model, chosen)
    accuracy = float(answers.right.float().mean())
    guess: Chance = chance(chosen)
    notes += left_out_note(encoded.answers_left_out)
    notes += chance_notes(f"{model.name} on {task.name}", accuracy, guess, tokenizer)
    if len(prompts) < FEW:
        notes.append(
            f"{len(prompts)} usable prompts are too few for figures that mean something; a search asks for {FEW}"
        )
    return TaskCheck(
        task=task.name,
        items=items,
        kept=len(prompts),
        dropped=dict(dropped),
        scored=len(chosen),
        accuracy=accuracy,
        top1=float(answers.top1.float().mean()),
        logit_diff=float(answers.logit_diff.mean()),
        chance=max(guess.uniform, guess.majority),
        seconds=time.monotonic() - began,
        notes=tuple(notes),
        held_out=held_out,
        prompts=_shown(chosen, answers.right.tolist(), tokenizer),
        bos=reading.bos,
    )


def _shown(prompts: Prompts, right: list[bool], tokenizer: Any) -> tuple[dict[str, Any], ...]:
    """The first and the last few as they are asked: each text, and the tokens that the model gets."""
    places = dict.fromkeys([*range(len(prompts))[:SHOWN], *range(len(prompts))[-SHOWN:]])
    return tuple(_asked(prompts, place, right[place], tokenizer) for place in places)


def _asked(prompts: Prompts, place: int, right: bool, tokenizer: Any) -> dict[str, Any]:
    example, length = prompts.examples[place], int(prompts.lengths[place])
    sides = {
        f"{name}_tokens": [pieces(ids, tokenizer) for ids in prompts.answers(place, name)[:SHOWN]]
        for name in ("correct", "wrong")
    }
    words = {"prompt": example.prompt, "correct": list(example.correct), "wrong": list(example.wrong[:SHOWN])}
    tokens = {"tokens": pieces(prompts.tokens[place, :length].tolist(), tokenizer), **sides}
    return words | tokens | {"where": example.where, "right": right}


def _drawn(count: int, limit: int, seed: int) -> list[int]:
    if count <= limit:
        return list(range(count))
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:limit].sort().values.tolist()


def _no_prompts(examples: tuple[Example, ...], tokenizer: Any) -> bool:
    """Whether these are pairs of sentences that all part at their first token."""
    if any(example.sentences is None for example in examples):
        return False
    firsts = {text: None for e in examples for text in e.sentences or ()}
    ids = tokenizer(list(firsts), add_special_tokens=False)["input_ids"]
    first = {text: row[:1] for text, row in zip(firsts, ids, strict=True)}
    return all(first[e.sentences[0]] != first[e.sentences[1]] for e in examples if e.sentences)


def _sentences(
    model: MaskedTransformer,
    task: Task,
    examples: tuple[Example, ...],
    items: int,
    dropped: Counter[str],
    limit: int,
    seed: int,
    began: float,
    bos: Bos,
) -> TaskCheck:
    pairs = [e.sentences for e in (examples[i] for i in _drawn(len(examples), limit, seed)) if e.sentences]
    good, bad = (sentence_log_probs(model, side, bos) for side in zip(*pairs, strict=True))
    return TaskCheck(
        task=task.name,
        items=items,
        kept=len(examples),
        dropped=dict(dropped),
        scored=len(pairs),
        accuracy=float((good > bad).float().mean()),
        top1=None,
        logit_diff=float((good - bad).mean()),
        chance=0.5,
        seconds=time.monotonic() - began,
        sentences=True,
        notes=(*model.notes, f"{task.name}: whole sentences were scored, since {NO_PREFIX}; it cannot be searched"),
        bos=bos,
        prompts=tuple({"sentences": list(pair)} for pair in pairs[:3]),
    )
