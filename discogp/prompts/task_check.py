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
from discogp.tasks import Example, PooledTask, SplitSizes, Task, encode, fitted
from discogp.tasks.encoding import NO_PREFIX


@dataclass(frozen=True)
class TaskCheck:
    """What a model makes of a task. `items`: all the task has, or for a generator its test split; `kept`: those the
    tokenizer can express, items less everything in `dropped`; `scored`: of these, how many were run, and the
    accuracy, top-1 (0–1) and logit difference are theirs. `chance`: what guessing would give (0–1).

    Whole sentences (`sentences`): accuracy is the share of pairs whose right sentence has the higher log-probability,
    `logit_diff` their mean difference in nats, and there is no top-1. `prompts`: three with their answers.
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

    def to_json(self) -> dict[str, Any]:
        """As plain data; `kept_share` is kept of items."""
        names = ("task", "items", "kept", "dropped", "accuracy", "top1", "logit_diff", "scored", "chance", "sentences")
        found = {name: getattr(self, name) for name in names}
        more = {"kept_share": self.kept / self.items, "seconds": round(self.seconds, 2), "notes": list(self.notes)}
        return {**found, **more, "held_out": self.held_out, "prompts": list(self.prompts)}


def check_task(model: MaskedTransformer, task: Task, limit: int = 1000, seed: int = 0) -> TaskCheck:
    """Encode all items of a task and run the full model on at most `limit` of them, drawn at random.

    Pairs of sentences of which none has a prompt are scored whole. TaskError if the task cannot be asked at all.
    """
    if limit < 1:
        raise TaskError(f"{limit} items cannot be scored; give a --limit of at least 1")
    began = time.monotonic()
    tokenizer = needs_tokenizer(model, task)
    notes: list[str] = []
    dropped: Counter[str] = Counter()
    held_out = ""
    if isinstance(task, PooledTask):
        pool = task.pool()
        examples, notes, dropped = pool.examples, list(pool.notes), Counter(pool.dropped)
    else:
        splits = fitted(task, tokenizer).splits(SplitSizes(), seed)
        examples, held_out = splits.test, splits.held_out
    items = len(examples) + sum(dropped.values())
    if _no_prompts(examples, tokenizer):
        return _sentences(model, task, examples, items, dropped, limit, seed, began)
    encoded = encode(examples, tokenizer, model.bos_id)
    dropped.update(encoded.dropped)
    prompts = encoded.prompts
    chosen = prompts.subset(_drawn(len(prompts), limit, seed))
    answers = full_answers(model, chosen)
    accuracy = float(answers.right.float().mean())
    guess: Chance = chance(chosen)
    notes += left_out_note(encoded.answers_left_out)
    notes += chance_notes(f"{model.name} on {task.name}", accuracy, guess, tokenizer)
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
        prompts=tuple(
            {"prompt": e.prompt, "correct": list(e.correct), "wrong": list(e.wrong[:5]), "right": bool(right)}
            for e, right in zip(chosen.examples[:3], answers.right, strict=False)
        ),
    )


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
) -> TaskCheck:
    pairs = [e.sentences for e in (examples[i] for i in _drawn(len(examples), limit, seed)) if e.sentences]
    good, bad = (sentence_log_probs(model, side) for side in zip(*pairs, strict=True))
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
        notes=(f"{task.name}: whole sentences were scored, since {NO_PREFIX}; it cannot be searched",),
        prompts=tuple({"sentences": list(pair)} for pair in pairs[:3]),
    )
