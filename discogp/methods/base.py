"""What a method of circuit discovery is, and the registry of all of them. Needs no torch.

One method is one file in this folder, or a folder: a class derived from `Method`, an instance of which is registered.
Form, command line, runs and documentation follow from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from discogp.errors import ConfigError
from discogp.methods.settings import MethodSettings, settings_from_dict
from discogp.registry import Registry
from discogp.search.progress import Progress
from discogp.terms import Ablation, Searched

if TYPE_CHECKING:
    from discogp.engine.masked_transformer import MaskedTransformer
    from discogp.prompts.prepare import TaskData
    from discogp.search.job import Job

# Of what is free, how much a search may plan with: the system and the page need some as well.
_SHARE = 0.85


@dataclass(frozen=True)
class Estimate:
    """What a search will add: memory by part and as a whole, what is free (MB), time (s, None if not measured).

    `micro_batch`: prompts that will go through the model at once.
    """

    parts_mb: Mapping[str, float]
    available_mb: float
    micro_batch: int
    seconds: float | None = None

    @property
    def memory_mb(self) -> float:
        return sum(self.parts_mb.values())

    @property
    def fits(self) -> bool:
        return self.memory_mb <= self.available_mb * _SHARE

    def to_json(self) -> dict[str, Any]:
        return {
            "memory_mb": round(self.memory_mb),
            "parts_mb": {name: round(value) for name, value in self.parts_mb.items()},
            "available_mb": round(self.available_mb),
            "fits": self.fits,
            "micro_batch": self.micro_batch,
            "seconds": None if self.seconds is None else round(self.seconds, 1),
        }

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {value:,.0f}" for name, value in self.parts_mb.items())
        time_ = "" if self.seconds is None else f"; about {self.seconds:,.0f} s"
        return (
            f"about {self.memory_mb:,.0f} MB more ({parts}) of {self.available_mb:,.0f} MB free, "
            f"{self.micro_batch} prompts at a time{time_}"
        )


class Method(ABC):
    """One way to find a circuit. Instances hold no state: a search is given all it needs."""

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    """One sentence for people who choose."""
    source: ClassVar[str]
    settings: ClassVar[type]
    """A frozen dataclass derived from `Checked`, with at least the fields of `MethodSettings`."""
    masks: ClassVar[tuple[Searched, ...]]
    ablations: ClassVar[tuple[Ablation, ...]]
    presets: ClassVar[Mapping[str, str]]
    """Name -> one sentence."""
    default_preset: ClassVar[str]
    phases: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """`Progress.phase` -> what is said while it runs."""

    @abstractmethod
    def preset(self, name: str, mask: Searched = "edges", n_edges: int = 0, *, seed: int = 0) -> Any:
        """The settings of a preset for a model with that many edges. ConfigError for an unknown name or mask."""

    def unused(self, mask: Searched) -> frozenset[str]:
        """Groups of settings that a search of this mask does not read."""
        return frozenset()

    def settings_from(self, data: Mapping[str, Any]) -> Any:
        """Settings from a file or form, checked; a missing key takes its default. ConfigError names what is wrong."""
        config = settings_from_dict(self.settings, data)
        self.check(config)
        return config

    def check(self, config: MethodSettings) -> None:
        """ConfigError for settings of another method, and for what this one cannot mask or does not define."""
        if not isinstance(config, self.settings):
            raise ConfigError(
                f"the method {self.name!r} takes {self.settings.__name__}, and {type(config).__name__} was given"
            )
        for what, value, allowed in (
            ("mask", config.mask, self.masks),
            ("ablation", config.ablation, self.ablations),
        ):
            if value not in allowed:
                raise ConfigError(f"{what} is {value!r}; the method {self.name!r} allows {', '.join(allowed)}")

    @abstractmethod
    def estimate(
        self, model: MaskedTransformer, data: TaskData, config: Any, memory_limit_mb: float | None = None
    ) -> Estimate:
        """Memory of a search with these settings; without a limit, against what is free."""

    @abstractmethod
    def measured(self, model: MaskedTransformer, data: TaskData, config: Any, found: Estimate) -> Estimate:
        """The estimate with its time, from a little of the search's own work, which is thrown away."""

    def fitting(
        self, model: MaskedTransformer, data: TaskData, config: Any, memory_limit_mb: float | None = None
    ) -> Any:
        """The settings, changed where that makes the search fit. ConfigError, with what to do, if nothing does."""
        found = self.estimate(model, data, config, memory_limit_mb)
        if not found.fits:
            raise ConfigError(f"this search does not fit into memory: {found}; take a smaller model or fewer prompts")
        return config

    @abstractmethod
    def search(self, job: Job, config: Any) -> Iterator[Progress]:
        """Events, of which the last carries the circuit; without one if the job is cancelled."""


METHODS: Registry[Method] = Registry("method", ("discogp.methods",), ConfigError)


def register(method: type[Method]) -> type[Method]:
    """Decorator: make a method known under its name. A name that is taken raises ConfigError."""
    METHODS.add(method.name, method())
    return method


def get_method(name: str) -> Method:
    """ConfigError, with those there are, for an unknown name."""
    return METHODS[name]


def method_of(config: Any) -> Method:
    """The method that these settings are of. ConfigError if there is none."""
    for method in METHODS.values():
        if type(config) is method.settings:
            return method
    raise ConfigError(f"{type(config).__name__} is the settings of no method; known methods: {METHODS.known()}")
