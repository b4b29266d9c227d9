"""From a task and a model to the prompts a search runs on: encoded, split, and kept only where the model is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from discogp.engine.masked_transformer import MaskedTransformer
from discogp.errors import TaskError
from discogp.prompts.answers import Chance, chance, full_answers
from discogp.tasks import PooledTask, Prompts, Splits, SplitSizes, Task, encode, fitted, get_task, paired, task_options

# An accuracy that has not come this share of the way from chance to 1 (60 % on two candidates) shows no behaviour.
NEAR_CHANCE = 0.2
# Above this share of one right answer, the prompt need not be read.
CONSTANT = 0.95
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

    def recipe(self) -> dict[str, Any]:
        """What `restore` needs to make the same prompts again, and what a reader wants to know of them."""
        return {
            "task": self.task_name,
            "task_options": dict(self.task_options),
            "split_sizes": dict(self.sizes.items()),
            "data_seed": self.seed,
            "only_known": self.only_known,
            "need_counterfactual": self.need_counterfactual,
            "full_accuracy": self.full_accuracy,
            "chance": self.chance,
            "kept_share": self.kept_share,
            "dropped": dict(self.dropped),
            "held_out": self.held_out,
            "notes": list(self.notes),
        }

    def shares(self) -> dict[str, Any]:
        """What of the task was kept, and how well the full model does it: part of every result."""
        names = ("full_accuracy", "chance", "kept_share", "dropped", "held_out", "notes")
        return {name: value for name, value in self.recipe().items() if name in names}


def restore(model: MaskedTransformer, provenance: Mapping[str, Any]) -> TaskData:
    """The prompts that a saved circuit was searched and tested on, made again from its provenance.

    A note says so if the model of that name had other weights then. TaskError if the circuit does not say where it
    comes from (it was made by hand or imported).
    """
    name = provenance.get("task")
    if not isinstance(name, str):
        raise TaskError("this circuit names no task, so it can be looked at but not scored; give a task")
    data = prepare(
        model,
        get_task(name, **dict(provenance.get("task_options") or {})),
        SplitSizes(**dict(provenance.get("split_sizes") or {})),
        int(provenance.get("data_seed") or provenance.get("seed") or 0),
        bool(provenance.get("only_known", True)),
        bool(provenance.get("need_counterfactual", False)),
    )
    then, now = provenance.get("fingerprint"), model.weights.fingerprint
    if then is None or then == now:
        return data
    changed = (
        f"the circuit was found in other weights (fingerprint {then}) than those of {model.name} ({now}), in which it "
        "need not do the task; search again"
    )
    return replace(data, notes=(changed, *data.notes))


def prepare(
    model: MaskedTransformer,
    task: Task,
    sizes: SplitSizes | None = None,
    seed: int = 0,
    only_known: bool = True,
    need_counterfactual: bool = False,
) -> TaskData:
    """Encode a task's splits for a model. `only_known` keeps only prompts that the full model answers rightly.

    `need_counterfactual`: for resample ablation; of a task whose items are each other's counterfactuals, those for
    which there is none are dropped. TaskError if the model has no tokenizer, if nothing can be encoded, if it answers
    nothing rightly, or if counterfactuals are needed and the task has none.
    """
    tokenizer = needs_tokenizer(model, task)
    sizes = sizes or SplitSizes()
    dropped: Counter[str] = Counter()
    splits, notes, pairs = _splits(model, task, sizes, seed, dropped)
    chosen: list[Prompts] = []
    asked: list[Prompts] = []
    right = 0
    for name, size in sizes.items():
        encoded = encode(getattr(splits, name), tokenizer, model.bos_id)
        dropped.update(encoded.dropped)
        prompts = encoded.prompts
        asked.append(prompts)
        known = full_answers(model, prompts).right.nonzero().flatten().tolist()
        right += len(known)
        if only_known:
            prompts = _known(model, task, name, prompts, known)
        if pairs:
            prompts, alone = _paired(prompts, need_counterfactual)
            dropped.update({NO_COUNTERFACTUAL: alone} if alone else {})
        if need_counterfactual and prompts.counterfactual is None:
            raise TaskError(
                f"resample ablation needs a counterfactual for every prompt, and some or all of {task.name!r} have "
                "none; choose zero or mean ablation, or give a column 'counterfactual' if the prompts are yours"
            )
        if len(getattr(splits, name)) < size:
            notes.append(f"{task.name} has {len(getattr(splits, name))} {name} prompts for the {size} asked for")
        chosen.append(prompts)
    accuracy = right / sum(map(len, asked))
    guess = chance(*asked)
    notes += chance_notes(f"{model.name} on {task.name}", accuracy, guess, tokenizer)
    return TaskData(
        *chosen,
        task_name=task.name,
        full_accuracy=accuracy,
        kept_share=accuracy if only_known else 1.0,
        chance=max(guess.uniform, guess.majority),
        dropped=dict(dropped),
        held_out=splits.held_out,
        notes=tuple(notes),
        only_known=only_known,
        need_counterfactual=need_counterfactual,
        sizes=sizes,
        seed=seed,
        task_options=task_options(task),
    )


def _splits(
    model: MaskedTransformer, task: Task, sizes: SplitSizes, seed: int, dropped: Counter[str]
) -> tuple[Splits, list[str], bool]:
    """The task's splits for this model; what is to be said of them; whether items are each other's counterfactuals.

    What a pool of given items loses on the way is added to `dropped`.
    """
    if not isinstance(task, PooledTask):
        return fitted(task, model.tokenizer).splits(sizes, seed), [], False
    pool = task.pool()
    usable = encode(pool.examples, model.tokenizer, model.bos_id)
    dropped.update(pool.dropped)
    dropped.update(usable.dropped)
    notes = [*pool.notes, *left_out_note(usable.answers_left_out)]
    return task.split(usable.prompts.examples, sizes, seed), notes, pool.paired


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
