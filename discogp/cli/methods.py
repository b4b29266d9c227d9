"""`methods`: the ways to find a circuit, with their settings."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

from discogp.cli.output import add_command, add_json_flag, say, say_json
from discogp.methods.base import METHODS
from discogp.methods.settings import groups


def add_to(commands: Any) -> None:
    kinds = commands.add_parser("methods", help="the ways to find a circuit").add_subparsers(
        required=True, metavar="list"
    )
    listing = add_command(kinds, "list", _list, "every method: what it masks, and its settings with their defaults")
    add_json_flag(listing)


def _list(options: argparse.Namespace) -> None:
    if options.json:
        say_json([_described(method) for method in METHODS.values()])
        return
    for method in METHODS.values():
        say(f"{method.name}: {method.title} ({method.source})\n  {method.summary}")
        say(f"  masks {', '.join(method.masks)}; ablations {', '.join(method.ablations)}")
        say(f"  presets {', '.join(method.presets)} (default: {method.default_preset})")
        for name, default, text in _settings(method.settings):
            say(f"    {name:28} {default!s:10} {text}")


def _described(method: Any) -> dict[str, Any]:
    rows = [{"name": name, "default": default, "help": text} for name, default, text in _settings(method.settings)]
    words = {key: getattr(method, key) for key in ("name", "title", "summary", "source")}
    can = {"masks": list(method.masks), "ablations": list(method.ablations), "presets": dict(method.presets)}
    return {**words, **can, "default_preset": method.default_preset, "settings": rows}


def _settings(kind: Any, prefix: str = "") -> list[tuple[str, Any, str]]:
    """(name, default, help) of every setting, those of groups after the others."""
    nested = groups(kind)
    rows = [(prefix + f.name, f.default, f.metadata.get("help", "")) for f in fields(kind) if f.name not in nested]
    for group, of in nested.items():
        rows += _settings(of, f"{prefix}{group}.")
    return rows
