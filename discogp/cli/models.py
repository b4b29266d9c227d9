"""`models`: what can be loaded, and bringing it here."""

from __future__ import annotations

import argparse
from typing import Any

from discogp.cli.output import add_command, add_json_flag, note, say, say_json


def add_to(commands: Any) -> None:
    models = commands.add_parser("models", help="known models").add_subparsers(required=True, metavar="list|get|check")
    add_json_flag(add_command(models, "list", _models_list, "what is known, and what is on this machine"))
    add_command(models, "get", _models_get, "bring a model to this machine").add_argument("name")
    check = add_command(models, "check", _models_check, "load a model; tell its size, and how its files differ from it")
    check.add_argument("name", metavar="MODEL", help="a known model, a Hugging Face name or a folder")
    add_json_flag(check)


def _models_list(options: argparse.Namespace) -> None:
    from discogp.models.families.table import ARCHITECTURES
    from discogp.models.registry import list_models

    known = list_models()
    if options.json:
        models = [{"name": m.name, "title": m.title, "available": m.available()} for m in known]
        families = [
            {"family": row.family, "architecture": row.name, "model_type": row.model_type, "note": row.note}
            for row in ARCHITECTURES.values()
        ]
        say_json({"models": models, "families": families})
        return
    for model in known:
        say(f"{model.name:14} {'ready  ' if model.available() else 'not here'}  {model.title}: {model.description}")
    say("\nAny Hugging Face name or local folder of these families works as well:")
    for row in ARCHITECTURES.values():
        say(f"{row.family:14} {row.name:20} {row.note}")


def _models_get(options: argparse.Namespace) -> None:
    from discogp.models.fetch import fetch
    from discogp.models.registry import get_model

    say(str(fetch(get_model(options.name), lambda message, share: note(f"{share:4.0%} {message}"))))


def _models_check(options: argparse.Namespace) -> None:
    from discogp.engine.masked_transformer import load_model

    model = load_model(options.name)
    shape = model.config
    found = {
        "name": model.name,
        "family": shape.family,
        "layers": shape.n_layers,
        "heads": shape.n_heads,
        "edges": model.graph.n_edges,
        "parameters": model.weights.n_params,
        "positions": shape.max_positions,
        "vocabulary": shape.d_vocab,
        "fingerprint": model.weights.fingerprint,
        "notes": list(model.notes),
    }
    if options.json:
        say_json(found)
        return
    for key, value in found.items():
        if key != "notes":
            say(f"{key:12} {value:,}" if isinstance(value, int) else f"{key:12} {value}")
    for text in model.notes:
        say(f"note: {text}")
