"""How the settings of any method are declared, checked, and read from files, forms and the command line.

Settings are a frozen dataclass that derives from `Checked`; each field is made by `setting` and carries its one
default, its range and its help, from which the form of the page, `--set` and the documentation are made. A field may be
such a dataclass itself: a group. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, fields
from typing import Any, Protocol, TypeVar

from discogp.errors import ConfigError
from discogp.terms import Ablation, Searched

S = TypeVar("S")
_SWITCH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class MethodSettings(Protocol):
    """What the settings of every method have: what is masked, what ablated edges carry, and the seed."""

    @property
    def mask(self) -> Searched: ...
    @property
    def ablation(self) -> Ablation: ...
    @property
    def seed(self) -> int: ...


def setting(default: Any, help: str, **limits: Any) -> Any:
    """A field of settings. `limits`: `min` and `max` of a number, or the `choices` there are."""
    return field(default=default, metadata={"help": help, **limits})


class Checked:
    """Checks every field against its metadata; nested settings have checked themselves."""

    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value, meta = getattr(self, f.name), f.metadata
            choices = meta.get("choices")
            if choices is not None and value not in choices:
                raise ConfigError(f"{f.name} is {value!r}; allowed: {', '.join(map(str, choices))}")
            if isinstance(f.default, bool) and not isinstance(value, bool):
                raise ConfigError(f"{f.name} is {value!r}; it must be true or false")
            if "min" not in meta:
                continue
            kind = type(f.default)
            whole = kind is int
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise ConfigError(f"{f.name} is {value!r}; give a {'whole ' if whole else ''}number")
            low, high = meta["min"], meta["max"]
            if not low <= value <= high:
                raise ConfigError(f"{f.name} is {value!r}; it must be between {low} and {high}")


def groups(kind: Any) -> dict[str, type[Checked]]:
    """The groups of a settings class: field name -> its class."""
    made = {f.name: f.default_factory for f in fields(kind)}
    return {name: of for name, of in made.items() if isinstance(of, type) and issubclass(of, Checked)}


def setting_names(kind: Any) -> tuple[str, ...]:
    """Every setting as `--set` names it: `seed`, `edges.steps`."""
    nested = groups(kind)
    own = [f.name for f in fields(kind) if f.name not in nested]
    return (*own, *(f"{group}.{f.name}" for group, of in nested.items() for f in fields(of)))  # type: ignore[arg-type]


def settings_to_dict(config: Any) -> dict[str, Any]:
    """Plain data, for files and forms."""
    return asdict(config)


def settings_from_dict(kind: type[S], data: Mapping[str, Any], where: str = "") -> S:
    """The reverse; a missing key takes its default, an unknown one raises ConfigError."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"the settings{where} are {data!r}; they must be names and values")
    known, nested = [f.name for f in fields(kind)], groups(kind)  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            raise ConfigError(f"there is no setting {key!r}{where}; allowed: {', '.join(known)}")
    values = {
        key: settings_from_dict(nested[key], value, f" of {key}") if key in nested else value
        for key, value in data.items()
    }
    return kind(**values)


def with_assignments(config: S, assignments: Sequence[str]) -> S:
    """`edges.steps=300 objective=kl` on top of some settings; ConfigError names what is wrong."""
    data = settings_to_dict(config)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment!r} has no value; write it as name=value, such as seed=1")
        group, dot, name = key.rpartition(".")
        target = data.get(group) if dot else data
        if not isinstance(target, dict) or name not in target or isinstance(target[name], dict):
            raise ConfigError(f"there is no setting {key!r}; allowed: {', '.join(setting_names(type(config)))}")
        try:
            target[name] = _SWITCH[text.lower()] if isinstance(target[name], bool) else type(target[name])(text)
        except (ValueError, KeyError):
            wanted = "true or false" if isinstance(target[name], bool) else f"a {type(target[name]).__name__}"
            raise ConfigError(f"{key} is {text!r}; give {wanted}") from None
    return settings_from_dict(type(config), data)
