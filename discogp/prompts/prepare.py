"""From a task and a model to the prompts a search runs on: encoded, split, and kept only where the model is right."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from discogp.engine.masked_transformer import MaskedTransformer
from discogp.errors import TaskError
from discogp.prompts.answers import Chance, chance, full_answers
from discogp.prompts.reading import reading_of
from discogp.tasks import PooledTask, Prompts, Splits, SplitSizes, Task, encode, fitted, get_task, paired, task_options
from discogp.tasks.base import FEW, SMALLEST_SPLIT, SPLIT_NAMES
from discogp.tasks.encoding import Reading
from discogp.terms import Bos

# An accuracy that has not come this share of the way from chance to 1 (60 % on two candidates) shows no behaviour.
NEAR_CHANCE = 0.2
# Above this share of one right answer, the prompt need not be read.
CONSTANT = 0.95
# Of one split, whoever asks: a search, or the file of a circuit, which costs nobody anything to write.
MOST_PROMPTS = 50_000
NO_COUNTERFACTUAL = "no other prompt of the split can be its counterfactual"


@dataclass(frozen=True, eq=False)
class TaskData:
    """Three splits that share no prompt. `full_accuracy` (0–1) is over all splits, before filtering; `chance` (0–1) is
    what guessing would give: evenly among the candidates, or always the most frequent answer, whichever is more."""

    train: Prompts
    validation: Prompts
    test: Prompts
    task_name: str
    full_accuracy: float
    kept_share: float
    chance: float = 0.5
    dropped: dict[str, int] = field(default_factory=dict)
    held_out: str = ""
    notes: tuple[str, ...] = ()
    only_known: bool = True
    need_counterfactual: bool = False
    sizes: SplitSizes = field(default_factory=SplitSizes)
    seed: int = 0
    task_options: dict[str, Any] = field(default_factory=dict)
    bos: Bos = "auto"
    files: dict[str, str] = field(default_factory=dict)
    """Files that the prompts were read from, by name, each with the SHA-256 of its content."""
    answered_wrongly: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Of each split, the places of the encoded prompts that the full model answers wrongly, before filtering."""

    def fingerprints(self) -> dict[str, str]:
        """Of the prompts of each split, as the model reads them."""
        return {name: fingerprint(getattr(self, name)) for name in SPLIT_NAMES}

    @property
    def few(self) -> str | None:
        """Why these prompts are too few for figures that mean something; None if they are not."""
        counts = {name: len(getattr(self, name)) for name in SPLIT_NAMES}
        total = sum(counts.values())
        if total >= FEW and min(counts.values()) >= SMALLEST_SPLIT:
            return None
        split = ", ".join(f"{count} {name}" for name, count in counts.items())
        return (
            f"{self.task_name} has {total} usable prompts ({split}); with fewer than {FEW}, or fewer than "
            f"{SMALLEST_SPLIT} in a split, figures mean little"
        )

    def recipe(self) -> dict[str, Any]:
        """What `restore` needs to make the same prompts again, and what a reader wants to know of them."""
        return {
            "task": self.task_name,
            "task_options": dict(self.task_options),
            "split_sizes": dict(self.sizes.items()),
            "data_seed": self.seed,
            "only_known": self.only_known,
            "need_counterfactual": self.need_counterfactual,
            **self.shares(),
            "bos": self.bos,
            "prompts": self.fingerprints(),
            "data_files": dict(self.files),
            "answered_wrongly": {name: list(places) for name, places in self.answered_wrongly.items()},
        }

    def shares(self) -> dict[str, Any]:
        """What of the task was kept, and how well the full model does it: part of every result."""
        return {
            "full_accuracy": self.full_accuracy,
            "chance": self.chance,
            "kept_share": self.kept_share,
            "dropped": dict(self.dropped),
            "held_out": self.held_out,
            "notes": list(self.notes),
        }


def restore(model: MaskedTransformer, provenance: Mapping[str, Any]) -> TaskData:
    """The prompts that a saved circuit was searched and tested on, made again from its provenance.

    A note says so if the model of that name had other weights then, or if these are other prompts. TaskError if the
    circuit does not say where it comes from (it was made by hand or imported).

    Where it says which prompts the model answered wrongly, and weights and prompts prove to be those of then by their
    fingerprints, the model is not asked again: on SmolLM2 that takes longer than loading it.
    """
    name = provenance.get("task")
    if not isinstance(name, str):
        raise TaskError("this circuit names no task, so it can be looked at but not scored; give a task")
    asked = partial(
        _prepare,
        model,
        get_task(name, **dict(provenance.get("task_options") or {})),
        SplitSizes(**dict(provenance.get("split_sizes") or {})),
        int(provenance.get("data_seed") or provenance.get("seed") or 0),
        bool(provenance.get("only_known", True)),
        bool(provenance.get("need_counterfactual", False)),
        provenance.get("bos"),
    )
    wrong = provenance.get("answered_wrongly")
    if isinstance(wrong, Mapping) and set(wrong) == set(SPLIT_NAMES) and _same_weights(model, provenance):
        with suppress(TaskError):  # places that leave nothing are not those of these prompts
            data = asked(wrong)
            if proven(model, data, provenance):
                return data
    data = asked(None)
    return replace(data, notes=(*_other_weights(model, provenance), *_other_prompts(data, provenance), *data.notes))


def proven(model: MaskedTransformer, data: TaskData, provenance: Mapping[str, Any]) -> bool:
    """Whether weights and prompts prove, by their fingerprints, to be those that a circuit's saved figures are of."""
    told = isinstance(provenance.get("prompts"), Mapping)
    return told and _same_weights(model, provenance) and not _other_prompts(data, provenance)


def _same_weights(model: MaskedTransformer, provenance: Mapping[str, Any]) -> bool:
    return provenance.get("fingerprint") == model.weights.fingerprint


def _other_weights(model: MaskedTransformer, provenance: Mapping[str, Any]) -> list[str]:
    then, now = provenance.get("fingerprint"), model.weights.fingerprint
    if then is None or then == now:
        return []
    return [
        f"the circuit was found in other weights (fingerprint {then}) than those of {model.name} ({now}), in which it "
        "need not do the task; search again"
    ]


def _other_prompts(data: TaskData, provenance: Mapping[str, Any]) -> list[str]:
    """Says so if these are not the prompts that the circuit was found and scored on."""
    then = provenance.get("prompts")
    now = data.fingerprints()
    if not isinstance(then, Mapping) or (other := [name for name in SPLIT_NAMES if then.get(name) != now[name]]) == []:
        return []
    files = provenance.get("data_files")
    known = files if isinstance(files, Mapping) else {}
    changed = [name for name, digest in data.files.items() if known.get(name) != digest]
    why = "model, task or settings are others"
    if changed:
        why = f"{', '.join(changed)}: changed since, or another file"
    return [
        f"the {' and '.join(other)} prompts are not those of the search ({why}): the figures here are not those "
        "that were saved, and prompts of its training may be among them"
    ]


def fingerprint(prompts: Prompts) -> str:
    """Of prompts as a model reads them: token ids, lengths and answers, in their order; 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for row in range(len(prompts)):
        length = int(prompts.lengths[row])
        digest.update(repr(prompts.tokens[row, :length].tolist()).encode())
        sides = [prompts.answers(row, side) for side in ("correct", "wrong")]
        # Answers of one token as they were before there were others, so that circuits of then know their prompts.
        digest.update(repr([[ids[0] if len(ids) == 1 else ids for ids in side] for side in sides]).encode())
    return digest.hexdigest()[:16]


def prepare(
    model: MaskedTransformer,
    task: Task,
    sizes: SplitSizes | None = None,
    seed: int = 0,
    only_known: bool = True,
    need_counterfactual: bool = False,
    bos: Bos | None = None,
) -> TaskData:
    """Encode a task's splits for a model. `only_known` keeps only prompts that the full model answers rightly.

    `need_counterfactual`: for resample ablation; prompts for which there is none are dropped. `bos`: the opening token,
    if task and model are not to decide. TaskError if the model has no tokenizer, if nothing can be encoded, if it
    answers nothing rightly, or if counterfactuals are needed and the task has none.
    """
    return _prepare(model, task, sizes or SplitSizes(), seed, only_known, need_counterfactual, bos, None)


def _prepare(
    model: MaskedTransformer,
    task: Task,
    sizes: SplitSizes,
    seed: int,
    only_known: bool,
    need_counterfactual: bool,
    bos: Bos | None,
    wrong: Mapping[str, Iterable[int]] | None,
) -> TaskData:
    """`wrong`: the prompts of each split that the model answers wrongly, where that is known."""
    tokenizer = needs_tokenizer(model, task)
    reading = reading_of(model, task, bos)
    stock = _splits(model, task, sizes, seed, reading, need_counterfactual)
    notes, dropped = stock.notes, stock.dropped
    reading = replace(reading, need_counterfactual=need_counterfactual and not stock.paired)
    chosen: list[Prompts] = []
    asked: list[Prompts] = []
    missed: dict[str, tuple[int, ...]] = {}
    for name, size in sizes.items():
        examples = getattr(stock.splits, name)
        encoded = encode(examples, tokenizer, model.bos_id, reading)
        dropped.update(encoded.dropped)
        notes += encoded.told(notes)
        asked.append(prompts := encoded.prompts)
        found = _wrong(model, prompts) if wrong is None else wrong[name]
        missed[name] = tuple(sorted({place for place in found if 0 <= place < len(prompts)}))
        known = sorted(set(range(len(prompts))) - set(missed[name]))
        if only_known:
            prompts = _known(model, task, name, prompts, known)
        if stock.paired:
            prompts, alone = _paired(prompts, need_counterfactual)
            dropped.update({NO_COUNTERFACTUAL: alone} if alone else {})
        if need_counterfactual and prompts.counterfactual is None:
            raise _no_counterfactuals(task)
        notes += [f"{task.name} has {len(examples)} {name} prompts, not {size}"] if len(examples) < size else []
        chosen.append(prompts)
    total = sum(map(len, asked))
    accuracy, guess = (total - sum(map(len, missed.values()))) / total, chance(*asked)
    notes += chance_notes(f"{model.name} on {task.name}", accuracy, guess, tokenizer)
    return TaskData(
        *chosen,
        task_name=task.name,
        full_accuracy=accuracy,
        kept_share=accuracy if only_known else 1.0,
        chance=max(guess.uniform, guess.majority),
        dropped=dict(dropped),
        held_out=stock.splits.held_out,
        notes=(*model.notes, *notes),
        only_known=only_known,
        need_counterfactual=need_counterfactual,
        sizes=sizes,
        seed=seed,
        task_options=task_options(task),
        bos=reading.bos,
        files=stock.files,
        answered_wrongly=missed,
    )


def _wrong(model: MaskedTransformer, prompts: Prompts) -> list[int]:
    return (~full_answers(model, prompts).right).nonzero().flatten().tolist()


@dataclass(frozen=True, eq=False)
class _Stock:
    """A task's splits for one model, and what was found on the way to them."""

    splits: Splits
    notes: list[str]
    dropped: Counter[str]
    paired: bool
    files: dict[str, str]


def _splits(
    model: MaskedTransformer, task: Task, sizes: SplitSizes, seed: int, reading: Reading, need_counterfactual: bool
) -> _Stock:
    """The task's splits for this model; of a pool, what its items lose on the way."""
    if (largest := max(size for _, size in sizes.items())) > MOST_PROMPTS:
        raise TaskError(f"a split of {largest:,} prompts was asked for; at most {MOST_PROMPTS:,} are prepared")
    if not isinstance(task, PooledTask):
        files = _digests(Path(str(value)) for value in task_options(task).values() if isinstance(value, (str, Path)))
        return _Stock(fitted(task, model.tokenizer).splits(sizes, seed), [], Counter(), False, files)
    pool = task.pool()
    needed = need_counterfactual and not pool.paired
    if needed and all(example.counterfactual is None for example in pool.examples):
        raise _no_counterfactuals(task)
    usable = encode(pool.examples, model.tokenizer, model.bos_id, replace(reading, need_counterfactual=needed))
    notes = [*pool.notes, *usable.told(pool.notes), *left_out_note(usable.answers_left_out)]
    dropped = Counter(pool.dropped) + Counter(usable.dropped)
    splits = task.split(usable.prompts.examples, sizes, seed)
    return _Stock(splits, notes, dropped, pool.paired, _digests(pool.files))


def _digests(files: Iterable[Path]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}


def _no_counterfactuals(task: Task) -> TaskError:
    return TaskError(
        f"resample ablation needs a counterfactual for every prompt, and some or all of {task.name!r} have none; "
        "choose zero or mean ablation, or give a column 'counterfactual' if the prompts are yours"
    )


def _known(model: MaskedTransformer, task: Task, split: str, prompts: Prompts, known: list[int]) -> Prompts:
    """Those that the full model answers rightly. TaskError if there are none."""
    if not known:
        raise TaskError(
            f"{model.name} answers none of the {len(prompts)} {split} prompts of {task.name!r} rightly, so "
            "there is no behaviour to find a circuit for; choose another task, or keep all prompts"
        )
    return prompts.subset(known)


def needs_tokenizer(model: MaskedTransformer, task: Task) -> Any:
    """The model's tokenizer; TaskError if it has none."""
    if model.tokenizer is None:
        raise TaskError(
            f"{model.name} has no tokenizer, so the words of {task.name!r} cannot be encoded; add its tokenizer files "
            "to the folder, or call run_circuit with token ids of your own"
        )
    return model.tokenizer


def chance_notes(what: str, accuracy: float, guess: Chance, tokenizer: Any) -> list[str]:
    """What to announce when an accuracy is no better than guessing, or when one answer is always right."""
    answer = tokenizer.decode(list(guess.answer))
    if guess.majority > CONSTANT:
        return [
            f"{what}: “{answer}” is right for {guess.majority:.0%} of the prompts, so a circuit that always says so "
            "passes; read its other figures with that in mind"
        ]
    if accuracy < guess.uniform + NEAR_CHANCE * (1 - guess.uniform):
        return [
            f"{what}: {accuracy:.0%} of the prompts right is near chance ({guess.uniform:.0%}), so a circuit "
            "found here explains little"
        ]
    if accuracy <= guess.majority:
        return [
            f"{what}: {accuracy:.0%} of the prompts right is no more than always saying “{answer}” would give "
            f"({guess.majority:.0%}), so the model cannot really do the task and a circuit found here explains little"
        ]
    return []


def left_out_note(left_out: Mapping[str, int]) -> list[str]:
    """Which answers are no candidates with this tokenizer."""
    return [f"{count} answers are no candidates: {reason}" for reason, count in left_out.items()]


def _paired(prompts: Prompts, needed: bool) -> tuple[Prompts, int]:
    """The prompts with one another as counterfactuals, and how many were dropped for want of one.

    Where they are not needed, all prompts stay, and have counterfactuals only if each has one.
    """
    found, alone = paired(prompts)
    if not alone:
        return found, 0
    rest = sorted(set(range(len(prompts))) - set(alone))
    if not needed or not rest:
        return prompts, 0
    return found.subset(rest), len(alone)
