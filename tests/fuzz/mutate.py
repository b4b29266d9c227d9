"""One fault in a JSON document: a part dropped, renamed, put twice, nested, or replaced by an extreme."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

# What no json.dumps writes, by the placeholder that stands for it.
_RAW = {
    "@nan@": "NaN",
    "@infinite@": "-Infinity",
    "@1e400@": "1e400",
    "@400 digits@": "1" + "0" * 400,
    "@5000 digits@": "-" + "9" * 5000,
    "@100,000 deep@": "[" * 100_000 + "]" * 100_000,
    "@900 deep@": '{"a":' * 900 + "1" + "}" * 900,
    "@70 deep@": "[" * 70 + "]" * 70,
}
EXTREMES: tuple[Any, ...] = (
    *(*_RAW, None, True, False, 0, 1, -1, 2, 0.5, -0.0, 5e-324, 1.7e308, 3.5e38, 10**18, 2**31, 2**63, 10**200),
    *("", " ", "x", "0.5", "\0", "\ud800", "\u202e<b>", "x" * 5000, "../../etc/passwd", "input->a0.h0<q>", "mini"),
    *([], {}, [[]], [None], [1, "x"], {"": None}, {"a": {"b": []}}, ["x"] * 3000, [1] * 65, [2**40] * 3),
)


def mutated(document: Any, chance: random.Random) -> str:
    """The text of a copy with one fault; now and then with two."""
    found = copy.deepcopy(document)
    doubled = None
    for _ in range(1 if chance.random() < 0.85 else 2):
        box, key = _place(found, chance)
        if box is None:
            found = chance.choice(EXTREMES)
            break
        doubled = _break(box, key, chance) or doubled
    text = json.dumps(found)
    for placeholder, raw in _RAW.items():
        text = text.replace(json.dumps(placeholder), raw)
    if doubled is not None:
        text = text.replace(f"{json.dumps(doubled)}:", f"{json.dumps(doubled)}: 1, {json.dumps(doubled)}:", 1)
    return text


def _place(document: Any, chance: random.Random) -> tuple[Any, Any]:
    """A box and a key in it, of any depth: shallow ones as often as deep ones, of which there are many more."""
    box, key = None, None
    inner = document
    while isinstance(inner, (dict, list)) and inner:
        box = inner
        key = chance.choice(list(box)) if isinstance(box, dict) else chance.randrange(len(box))
        inner = box[key]
        if chance.random() < 0.3:
            break
    return box, key


def _break(box: Any, key: Any, chance: random.Random) -> str | None:
    """Do it in place; the name that is to stand twice, if that is the fault."""
    kind = chance.choice(("drop", "replace", "replace", "replace", "rename", "nest", "add", "twice", "type"))
    value = box[key]
    if kind == "drop":
        del box[key]
    elif kind == "rename" and isinstance(box, dict):
        del box[key]
        box[_flipped(key, chance)] = value
    elif kind == "nest":
        box[key] = {"a": value} if chance.random() < 0.5 else [value]
    elif kind == "add":
        extra = copy.deepcopy(chance.choice(EXTREMES))
        if isinstance(box, dict):
            box[chance.choice(("", "x", "notes", "__class__", "a9.h9->logits"))] = extra
        else:
            box.append(extra)
    elif kind == "twice" and isinstance(box, dict):
        return key
    elif kind == "type":
        box[key] = str(value) if isinstance(value, (int, float)) else len(str(value))
    else:
        box[key] = copy.deepcopy(chance.choice(EXTREMES))
    return None


def _flipped(name: str, chance: random.Random) -> str:
    """One bit of one letter is another."""
    if not name:
        return "x"
    place = chance.randrange(len(name))
    return name[:place] + chr(ord(name[place]) ^ 1 << chance.randrange(5)) + name[place + 1 :]
