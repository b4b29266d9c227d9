"""What a task is: prompts with a right and a wrong next word, in three splits that share nothing.

A *task* gives `Example`s: a prompt that ends right before the answer, a counterfactual prompt of the same length
whose answer differs, the right answers and the wrong ones. Answers carry their leading space, because " Mary" and
"Mary" are different tokens. A task is one file plus one call of `register`; the page, the command line and the
documentation list whatever is registered. Nothing here knows of tokens, tensors or models.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Protocol, TypeVar, get_args, runtime_checkable

from discogp.errors import TaskError
from discogp.registry import Registry

SPLIT_NAMES = ("train", "validation", "test")
FEW = 20
"""Fewer prompts than these say little: one more or less is a twentieth of every share."""
SMALLEST_SPLIT = 5


Messages = tuple[tuple[str, str], ...]
"""A chat: (role, content) of each turn."""


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt. `correct` and `wrong` are next words with their leading space; `group` names its condition.

    `sentences`: the whole right and the whole wrong sentence, for a prompt that is what the two have in common. Where
    they part is then a question of tokens ("scar|f" and "scar|ves" part inside a word), so prompt and answers are read
    off the sentences when they are encoded, and those given here are the same cut at a word, for people.

    `messages`: a chat that the tokenizer's template renders when it is encoded; the prompt given here is the same for
    people. `exact`: an answer may go on with the prompt's last word. `where` the example stands in its file.
    """

    prompt: str
    counterfactual: str | None
    correct: tuple[str, ...]
    wrong: tuple[str, ...]
    group: str = ""
    sentences: tuple[str, str] | None = None
    exact: bool = False
    messages: Messages | None = None
    counterfactual_messages: Messages | None = None
    where: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.sentences is not None:
            if self.sentences[0] == self.sentences[1] or not all(map(str.strip, self.sentences)):
                raise TaskError(f"two different sentences are needed, got {self.sentences!r}")
            return
        if not (self.prompt if self.exact else self.prompt.strip()):
            raise TaskError(f"an example needs a prompt, got {self.prompt!r}; give the words before the answer")
        if not self.correct or not self.wrong:
            raise TaskError(
                f"the prompt {self.prompt!r} needs at least one correct and one wrong answer, "
                f"got correct={self.correct!r}, wrong={self.wrong!r}"
            )
        if both := set(self.correct) & set(self.wrong):
            raise TaskError(f"the prompt {self.prompt!r} calls {sorted(both)} both correct and wrong; keep one")


@dataclass(frozen=True, slots=True)
class SplitSizes:
    """How many prompts of each split a run wants."""

    train: int = 256
    validation: int = 128
    test: int = 256

    def __post_init__(self) -> None:
        for name in SPLIT_NAMES:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise TaskError(f"the {name} split has size {value!r}; give a whole number of at least 1")

    def items(self) -> tuple[tuple[str, int], ...]:
        """(name, size) in the order train, validation, test."""
        return tuple((name, getattr(self, name)) for name in SPLIT_NAMES)


@dataclass(frozen=True, slots=True)
class Splits:
    """Three splits that share no prompt. `held_out` says, to people, what the test split has that training lacks."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    held_out: str


@runtime_checkable
class Task(Protocol):
    """A family of prompts. `source` says where they come from."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def source(self) -> str: ...

    def splits(self, sizes: SplitSizes, seed: int) -> Splits:
        """The same sizes and seed give the same splits. TaskError, with the maximum, if the sizes are too large."""
        ...


TaskFactory = Callable[..., Task]
_F = TypeVar("_F", bound=TaskFactory)
_factories: Registry[TaskFactory] = Registry("task", ("discogp.tasks.generated", "discogp.tasks.from_files"), TaskError)
_aliases: dict[str, str] = {}
# Families with too many members for one line of an error.
_LARGE = ("blimp", "lre", "mib", "pararel")


def register(name: str, *, aliases: Sequence[str] = ()) -> Callable[[_F], _F]:
    """Decorator: make a task class (or function) known under `name`. A name taken already raises TaskError."""

    def decorate(factory: _F) -> _F:
        for key in (name, *aliases):
            if key in _aliases or (key != name and key in _factories):
                raise TaskError(f"a task named {key!r} is registered already; give the new one another name")
        _factories.add(name, factory)
        _aliases.update(dict.fromkeys(aliases, name))
        return factory

    return decorate


def unregister(name: str) -> None:
    """Forget a task and its aliases; for plug-ins and tests that clean up after themselves."""
    _factories.remove(name)
    for alias in [alias for alias, target in _aliases.items() if target == name]:
        del _aliases[alias]


def get_task(name: str, **options: Any) -> Task:
    """The task of that name or alias, made with `options`.

    TaskError names what exists when the name is unknown, and what is allowed when an option is.
    """
    factory = _factories.get(_aliases.get(name, name))
    if factory is None:
        families = sorted(
            {key.rpartition("/")[0] for key in _factories if key.count("/") and key.split("/")[0] in _LARGE}
        )
        known = ", ".join(sorted(k for k in _factories if k.split("/")[0] not in _LARGE) + [f"{f}/…" for f in families])
        near = get_close_matches(name, [*_factories, *_aliases], n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else "choose one of them, or register a task of that name"
        raise TaskError(f"there is no task named {name!r}; known tasks: {known}; {hint}")
    allowed = list(inspect.signature(factory).parameters)
    for option in options:
        if option not in allowed:
            raise TaskError(
                f"the task {name!r} has no option {option!r}; allowed: {', '.join(allowed) or 'none, leave it out'}"
            )
    return factory(**options)


def task_options(task: Task) -> dict[str, Any]:
    """The options that make `get_task(task.name, **options)` this task; those at their default are left out."""
    factory = _factories.get(task.name)
    parameters = {} if factory is None else inspect.signature(factory).parameters
    values = {name: getattr(task, name, parameter.default) for name, parameter in parameters.items()}
    return {name: value for name, value in values.items() if value is not None and value != parameters[name].default}


def option_names(name: str) -> tuple[str, ...]:
    """The options a task takes; none for a name that is not known."""
    factory = _factories.get(_aliases.get(name, name))
    return () if factory is None else tuple(inspect.signature(factory).parameters)


def list_tasks() -> tuple[Task, ...]:
    """Every registered task with its default options, by name."""
    return tuple(factory() for factory in _factories.values())


def check_maximum(task: str, split: str, wanted: int, maximum: int) -> None:
    """TaskError with the maximum, if a split cannot be as large as wanted."""
    if wanted > maximum:
        raise TaskError(
            f"the task {task!r} can make at most {maximum} {split} prompts, {wanted} were asked for; "
            f"lower the size of the {split} split"
        )


def check_option(task: str, option: str, value: object, choices: Any) -> None:
    """TaskError if an option's value is not among the choices, a Literal type."""
    if value not in get_args(choices):
        allowed = ", ".join(map(repr, get_args(choices)))
        raise TaskError(f"the option {option!r} of the task {task!r} is {value!r}; allowed: {allowed}")
