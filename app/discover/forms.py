"""Input fields made from a settings dataclass: its fields' metadata are the form.

Metadata used: "help" (text), "min", "max" (numbers), "choices" (values), "title". A setting added to the
engine so appears on the page without a line here.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Collection
from dataclasses import Field, fields, is_dataclass, replace
from typing import Any, TypeVar, get_args, get_origin

import streamlit as st

from app.text import plain

T = TypeVar("T")


def form(settings: T, key: str, skip: Collection[str] = (), columns: int = 3) -> T:
    """Fields for every plain setting, then a titled group for each nested dataclass; returns the settings chosen.

    `key` must differ whenever the defaults do, since a field keeps the value it has under its key.
    """
    hints = typing.get_type_hints(type(settings))
    plain, nested = [], []
    for item in fields(settings):  # type: ignore[arg-type]  # T is a dataclass instance
        if item.name in skip or not item.init:
            continue
        (nested if is_dataclass(getattr(settings, item.name)) else plain).append(item)
    chosen: dict[str, Any] = {}
    cells = st.columns(columns) if plain else []
    for place, item in enumerate(plain):
        with cells[place % columns]:
            chosen[item.name] = _field(item, hints[item.name], getattr(settings, item.name), f"{key}.{item.name}")
    for item in nested:
        st.markdown(f"**{title(item)}**", help=item.metadata.get("help"))
        chosen[item.name] = form(getattr(settings, item.name), f"{key}.{item.name}", columns=columns)
    return replace(settings, **chosen)  # type: ignore[type-var]


def title(item: Field[Any]) -> str:
    words = str(item.metadata.get("title") or item.name.replace("_", " "))
    return words[:1].upper() + words[1:]


def _field(item: Field[Any], hint: Any, value: Any, key: str) -> Any:
    hint, optional = _without_none(hint)
    label, tip = title(item), item.metadata.get("help")
    choices = item.metadata.get("choices") or (get_args(hint) if get_origin(hint) is typing.Literal else None)
    if choices:
        options = [*([None] if optional else []), *choices]
        return st.selectbox(label, options, index=options.index(value), format_func=_shown, key=key, help=tip)
    if hint is bool:
        return st.toggle(label, value=bool(value), key=key, help=tip)
    if hint in (int, float):
        return _number(label, hint, value, item.metadata, key, tip, optional)
    if get_origin(hint) is tuple or hint is str:
        return _text(label, hint, value, key, tip)
    st.text_input(label, value=str(value), disabled=True, key=key, help=tip)
    return value


def _number(label: str, kind: type, value: Any, metadata: Any, key: str, tip: str | None, optional: bool) -> Any:
    """An empty field stands for None where the setting allows it, and for its default where it does not."""
    low, high = metadata.get("min"), metadata.get("max")
    if value is not None:  # a preset may lie outside what the form would suggest; it must still be shown
        low = None if low is None else min(low, value)
        high = None if high is None else max(high, value)
    given = st.number_input(
        label,
        value=None if value is None else kind(value),
        min_value=None if low is None else kind(low),
        max_value=None if high is None else kind(high),
        step=1 if kind is int else _step(value),
        format="%d" if kind is int else "%g",
        placeholder="none",
        key=key,
        help=tip,
    )
    return given if given is not None or optional else value


def _step(value: float | None) -> float:
    """A tenth of the value's own magnitude, so that the buttons move what is shown."""
    return 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 0.1


def _text(label: str, hint: Any, value: Any, key: str, tip: str | None) -> Any:
    if hint is str:
        return st.text_input(label, value=value, key=key, help=tip)
    kind = next((part for part in get_args(hint) if part is not Ellipsis), str)
    shown = ", ".join(f"{part:g}" if kind is float else str(part) for part in value)
    text = st.text_input(label, value=shown, key=key, help=tip)
    try:
        return tuple(kind(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        st.error(plain(f"{label}: {text!r} is not a list of numbers; write them with commas between, like 0.1, 0.2"))
        return value


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) in (types.UnionType, typing.Union):
        parts = [part for part in get_args(hint) if part is not types.NoneType]
        return (parts[0] if len(parts) == 1 else hint), len(parts) < len(get_args(hint))
    return hint, False


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
