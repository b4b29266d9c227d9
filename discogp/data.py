"""From a task and a model to the prompts a search runs on: encoded, split, and kept only where the model is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from discogp.errors import TaskError
from discogp.masked_transformer import MaskedTransformer
from discogp.objectives import answers_right
from discogp.tasks import Prompts, SplitSizes, Task, encode, get_task

# Below this accuracy, on two candidates, there is no behaviour to find a circuit for.
NEAR_CHANCE = 0.6


@dataclass(frozen=True, eq=False)
class TaskData:
    """Three splits that share no prompt. `full_accuracy` (0–1) is over all splits, before filtering."""

    train: Prompts
    validation: Prompts
    test: Prompts
    task_name: str
    full_accuracy: float
    kept_share: float
    dropped: dict[str, int] = field(default_factory=dict)
    held_out: str = ""
    notes: tuple[str, ...] = ()
    only_known: bool = True
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
            "full_accuracy": self.full_accuracy,
            "kept_share": self.kept_share,
            "dropped": dict(self.dropped),
            "held_out": self.held_out,
        }


def restore(model: MaskedTransformer, provenance: Mapping[str, Any]) -> TaskData:
    """The prompts that a saved circuit was searched and tested on, made again from its provenance.

    TaskError if the circuit does not say where it comes from (it was made by hand or imported).
    """
    name = provenance.get("task")
    if not isinstance(name, str):
        raise TaskError("this circuit names no task, so it can be looked at but not scored; give a task")
    return prepare(
        model,
        get_task(name, **dict(provenance.get("task_options") or {})),
        SplitSizes(**dict(provenance.get("split_sizes") or {})),
        int(provenance.get("data_seed") or provenance.get("seed") or 0),
        bool(provenance.get("only_known", True)),
    )


def prepare(
    model: MaskedTransformer,
    task: Task,
    sizes: SplitSizes | None = None,
    seed: int = 0,
    only_known: bool = True,
) -> TaskData:
    """Encode a task's splits for a model. `only_known` keeps only prompts that the full model answers rightly.

    TaskError if the model has no tokenizer, if nothing can be encoded, or if it answers nothing rightly.
    """
    if model.tokenizer is None:
        raise TaskError(
            f"{model.name} has no tokenizer, so the words of {task.name!r} cannot be encoded; add its tokenizer files "
            "to the folder, or call run_circuit with token ids of your own"
        )
    sizes = sizes or SplitSizes()
    splits = task.splits(sizes, seed)
    dropped: dict[str, int] = {}
    chosen: list[Prompts] = []
    right = total = 0
    for name in ("train", "validation", "test"):
        encoded = encode(getattr(splits, name), model.tokenizer, model.bos_id)
        for reason, count in encoded.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
        prompts = encoded.prompts
        known = _known(model, prompts)
        right, total = right + len(known), total + len(prompts)
        if only_known:
            if not known:
                raise TaskError(
                    f"{model.name} answers none of the {len(prompts)} {name} prompts of {task.name!r} rightly, so "
                    "there is no behaviour to find a circuit for; choose another task, or keep all prompts"
                )
            prompts = prompts.subset(known)
        chosen.append(prompts)
    accuracy = right / total
    notes: tuple[str, ...] = ()
    if accuracy < NEAR_CHANCE:
        notes = (
            f"{model.name} is right on {accuracy:.0%} of the prompts of {task.name!r}, near chance: "
            "a circuit found here explains little",
        )
    return TaskData(
        *chosen,
        task_name=task.name,
        full_accuracy=accuracy,
        kept_share=accuracy if only_known else 1.0,
        dropped=dropped,
        held_out=splits.held_out,
        notes=notes,
        only_known=only_known,
        sizes=sizes,
        seed=seed,
        task_options=_options(task),
    )


def _options(task: Task) -> dict[str, Any]:
    """The settings that a task was made with; a task's dataclass fields are its options."""
    if not is_dataclass(task):
        return {}
    options = {f.name: getattr(task, f.name) for f in fields(task) if f.init}
    return {name: value for name, value in options.items() if value is not None}


def _known(model: MaskedTransformer, prompts: Prompts) -> list[int]:
    """Places of the prompts that the full model answers rightly."""
    known: list[int] = []
    for start, batch in zip(range(0, len(prompts), 64), prompts.batches(64), strict=True):
        batch = batch.to(model.device)
        right = answers_right(model.logits(batch.tokens, batch.last), batch.correct, batch.wrong)
        known += [start + i for i in right.nonzero().flatten().tolist()]
    return known
