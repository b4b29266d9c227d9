"""Valid files of every form with their structure changed: each is read, or refused in one short message."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from discogp.errors import DiscoGPError
from discogp.tasks import Example, get_task
from tests.tasks.test_forms import CASES
from tests.tasks.test_lre import RELATION

# A text stands for what Python's own writer refuses to write.
RAW = {"@digits": "9" * 5000, "@deep": "[" * 880 + "]" * 880, "@objects": '{"a":' * 880 + "1" + "}" * 880}
EXTREMES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 1e308, float("inf"), float("nan"), 10**400),
    *("", " ", "\n", "|", "a|", "x" * 150_000, "[1,2]", "[", "\ud800", "\0", "é" * 50),
    *([], {}, [[]], [None], ["a", "a"], {"prompt": "a"}, *RAW),
)
PIECES = (b'"', b"\0", b"\xff", b"\n", b",", b"[", b"{", b"]", b"}", b"\\", b"\\ud800", b"9" * 5000, b"[" * 2000)
FILES = [(case.name, case.text, "custom") for case in CASES.values()]
FILES.append(("country_capital_city.json", json.dumps(RELATION), "lre/country_capital_city"))


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield above
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))[:5] if isinstance(value, list) else []
    for key in keys:
        yield from places(value[key], (*above, key))


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    value = copy.copy(value)
    value[place[0]] = put(value[place[0]], place[1:], new)
    return value


def restructured(text: str, rng: random.Random) -> bytes:
    value = json.loads(text)
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = put(value, rng.choice(list(places(value))), rng.choice(EXTREMES))
    written = json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice((None, 1)))
    for mark, raw in RAW.items():
        written = written.replace(f'"{mark}"', raw)
    return written.encode("utf-8", "surrogatepass")


def damaged(text: str, rng: random.Random) -> bytes:
    raw = bytearray(text.encode())
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = rng.randrange(len(raw) + 1)
        cut = rng.choice((0, 0, 1, 5, 50))
        raw[place : place + cut] = rng.choice((b"", *PIECES))
    return bytes(raw)


def is_one_value(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("seed", range(4))
def test_whatever_becomes_of_a_file_it_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    read = 0
    for _ in range(400):
        name, text, task = rng.choice(FILES)
        change = restructured if is_one_value(text) and rng.random() < 0.7 else damaged
        path = tmp_path / name
        path.write_bytes(change(text, rng))
        said: tuple[str, ...]
        examples: tuple[Example, ...] = ()
        try:
            pool = get_task(task, **{"file" if task == "custom" else "data": path}).pool()  # type: ignore[attr-defined]
            said, examples = pool.notes, pool.examples
        except DiscoGPError as error:
            said = (str(error),)
        read += bool(examples)
        assert all(len(text) < 4000 for text in said)
        for example in examples:
            "".join((example.prompt, *example.correct, *example.wrong, example.counterfactual or "")).encode()
    assert read > 50
