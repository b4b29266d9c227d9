"""What the files of a run hold, name by name and type by type: `run.json`, `process.json`, lines of `progress.jsonl`.

What is declared here is all that anybody relies on; names that a later version added are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired, get_args

from pydantic import AfterValidator, ConfigDict, Field, Strict, TypeAdapter, with_config
from typing_extensions import TypedDict  # pydantic's, before Python 3.12

from discogp.reading import Flag, Number, Text, Whole, checked
from discogp.terms import Bos

State = Literal["queued", "running", "done", "failed", "cancelled"]
STATES: tuple[str, ...] = get_args(State)
LIVE = ("queued", "running")


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time needs its zone, as in 2026-01-31T12:00:00+00:00")
    return text


_Moment = Annotated[str, Strict(), AfterValidator(_moment)]
_Count = Annotated[Whole, Field(ge=0, le=10**12)]
_Seconds = Annotated[Number, Field(le=1e12)]
_Density = Annotated[Number, Field(ge=0)]


@with_config(ConfigDict(extra="allow"))
class _Config(TypedDict, total=False):
    """Those of a method's settings that every method has, or that the page shows."""

    mask: Text
    seed: Whole
    batch_size: Annotated[Whole, Field(ge=1)]


def _shown_settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    checked(_CONFIG, config)
    return config


_CONFIG: TypeAdapter[_Config] = TypeAdapter(_Config)


@dataclass(frozen=True)
class RunSettings:
    """What to search, and how: enough to repeat it. `config`: the method's settings, as plain data."""

    model: Text
    task: Text
    config: Annotated[Mapping[Text, Any], AfterValidator(_shown_settings)]
    task_options: Mapping[Text, Any] = field(default_factory=dict)
    sizes: Mapping[Text, Whole] = field(default_factory=dict)
    only_known: Flag = True
    device: Text = "cpu"
    method: Text = "discogp"
    bos: Bos | None = None
    few_prompts: Flag = False
    """Whether to search though the prompts are too few for figures that mean something."""


@dataclass(frozen=True)
class Run:
    """A run as its folder tells it. Times are ISO 8601 in UTC. `notes`: what is to be said of its files; not saved."""

    id: Text
    settings: RunSettings
    created: _Moment
    state: State = "queued"
    finished: _Moment | None = None
    error: Text | None = None
    versions: Mapping[Text, Text] = field(default_factory=dict)
    continued: _Moment | None = None
    """When the run was last put in the queue again after an interruption."""
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def seed(self) -> int | None:
        return self.settings.config.get("seed")


@dataclass(frozen=True)
class Unreadable:
    """A folder among the runs that is none, or a broken one, and why."""

    id: str
    reason: str


class Process(TypedDict):
    """Who computes a run. A pid of 0 or 1, or below, would name others than one process."""

    pid: Annotated[Whole, Field(ge=2, lt=2**31)]
    started: Text | None


class _Judged(TypedDict):
    accuracy: Number | None
    complement_accuracy: Number | None
    kl: NotRequired[Number | None]
    top1: NotRequired[Number | None]


class _Data(TypedDict, total=False):
    train: _Count
    validation: _Count
    test: _Count
    full_accuracy: Number | None
    kept_share: Number | None


class _Event(TypedDict, total=False):
    """One line of progress. Those that tell of a step say which."""

    phase: Text
    message: Text
    elapsed: _Seconds | None
    eta: _Seconds | None
    losses: dict[Text, Number | None] | None
    densities: dict[Text, _Density | None] | None
    validation: _Judged | None
    test: _Judged | None
    best_step: _Count | None
    data: _Data | None
    notes: list[Text] | None


class _Step(_Event):
    step: _Count
    total_steps: NotRequired[_Count]


RUN: TypeAdapter[Run] = TypeAdapter(Run)
PROCESS: TypeAdapter[Process] = TypeAdapter(Process)
_EVENT: TypeAdapter[_Event] = TypeAdapter(_Event)
_STEP: TypeAdapter[_Step] = TypeAdapter(_Step)


def check_event(event: Mapping[str, Any]) -> None:
    """ContentError unless it is one."""
    if "step" in event or "total_steps" in event:
        checked(_STEP, event)
    else:
        checked(_EVENT, event)
