"""How the settings of any method are declared and checked: one default, one range and one sentence a field."""

from __future__ import annotations

from dataclasses import field, fields
from typing import Any

from discogp.errors import ConfigError


def setting(default: Any, help: str, **limits: Any) -> Any:
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
