"""Files from anybody: bounded, whole, and of the types that are expected; what is not is told in one line."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from discogp.errors import ContentError, brief
from discogp.reading import (
    DEEPEST,
    Flag,
    Number,
    Seal,
    Text,
    Whole,
    as_text,
    checked,
    parse_json,
    read_bytes,
    read_text,
    sealed,
    unsealed,
)


@pytest.mark.parametrize("value", [None, 1, -2.5, "é\ud800", [], {}, {"a": [{"b": None}]}, 10**299, 1e308, 5e-324])
def test_json_comes_back(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value


def _nested(levels: int, begin: str = "[", end: str = "]") -> str:
    return begin * levels + end * levels


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"not valid JSON \(Expecting value at line 1, column 1\)"),
        ("[1,\n2", "line 2"),
        ("NaN", "holds NaN"),
        ("[-Infinity]", "holds -Infinity"),
        ("1e999", "1e999, which is too large"),
        ("-1e999", "too large"),
        ("9" * 5000, "a number of 5,000 digits"),
        ("-" + "9" * 301, "a number of 301 digits"),
        (_nested(DEEPEST + 1), "nested too deeply; 64 levels"),
        (_nested(900, '{"a":', "}").replace(":}", ":1}"), "nested too deeply"),
        (_nested(100_000), "nested too deeply"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "holds 'c' twice"),
        ('{"' + "x" * 5000 + '": 1, "' + "x" * 5000 + '": 1}', r"holds 'xx.*\.\.\..*x' twice$"),
        ('"\\ud80', "Invalid"),
    ],
)
def test_what_is_no_json_is_told(text: str, reason: str) -> None:
    with pytest.raises(ContentError, match=reason) as told:
        parse_json(text)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 200


def test_the_deepest_that_is_read() -> None:
    assert parse_json(_nested(DEEPEST)) is not None
    assert parse_json('{"a": "' + "[" * 1000 + '"}') == {"a": "[" * 1000}


@pytest.mark.parametrize("size", [100_000, 480_000])
def test_a_doubled_name_is_found_in_time_that_follows_from_the_size(size: int) -> None:
    """480 kB took 33 s when each name was looked for among all."""
    pairs = ",".join(f'"k{i:06}":1' for i in range(size // 12))
    began = time.process_time()
    with pytest.raises(ContentError, match="'k000000' twice"):
        parse_json(f'{{{pairs},"k000000":1}}')
    assert time.process_time() - began < 1.5


# --- files -----------------------------------------------------------------------------------------------


def test_a_file_is_read_whole_up_to_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"\xef\xbb\xbf12345")
    assert read_bytes(file, 8) == b"\xef\xbb\xbf12345"
    assert read_text(file, 8) == "12345"
    with pytest.raises(ContentError, match="at most 7 bytes"):
        read_bytes(file, 7)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "b", 7)
    with pytest.raises(ContentError, match="at byte 2"):
        as_text(b"a\xff")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "a folder"),
        (os.mkfifo, "no ordinary file"),
        (lambda path: path.symlink_to("/dev/zero"), "no ordinary file"),
        (lambda path: path.symlink_to(path), "cannot be opened: Too many levels"),
    ],
)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    make(tmp_path / "a")
    with pytest.raises(ContentError, match=reason):
        read_bytes(tmp_path / "a", 10)
    with pytest.raises(ContentError, match="null"):
        read_bytes(tmp_path / "a\0b", 10)


# --- types -----------------------------------------------------------------------------------------------


class _Thing(TypedDict, total=False):
    text: Text
    whole: Annotated[Whole, Field(ge=1)]
    number: Number
    flag: Flag
    many: dict[Text, list[Number | None]]


KIND: TypeAdapter[_Thing] = TypeAdapter(_Thing)


@pytest.mark.parametrize("data", [{}, {"number": 1}, {"number": 0.5, "whole": 3, "text": "\ud800", "flag": False}])
def test_right_types_pass(data: Any) -> None:
    assert checked(KIND, data) == data


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([], r"it is \[\]; it should be a valid dictionary"),
        ({"text": 5}, "text is 5; it should be a valid string"),
        ({"whole": "5"}, "whole is '5'; it should be a valid integer"),
        ({"whole": True}, "whole is True; it should be a valid integer"),
        ({"whole": 5.0}, "whole is 5.0"),
        ({"whole": 0}, "whole is 0; it should be greater than or equal to 1"),
        ({"number": True}, "number is True"),
        ({"number": "0.5"}, "number is '0.5'"),
        ({"number": float("inf")}, "number is inf"),
        ({"flag": 1}, "flag is 1"),
        ({"many": {"a": [1, None, "x"]}}, "many.a.2 is 'x'"),
        ({"text": None, "flag": None}, r"text is None; .* \(and 1 more\)"),
        ({"text": ["x" * 5000] * 5000}, r"text is \['xx"),
    ],
)
def test_wrong_types_are_named(data: Any, told: str) -> None:
    with pytest.raises(ContentError, match=told) as error:
        checked(KIND, data)
    assert len(str(error.value)) < 600
    assert "\n" not in str(error.value)


def test_what_is_shown_is_short() -> None:
    deep: list[Any] = []
    for _ in range(50):
        deep = [deep] * 9
    for value in ("x" * 10**6, deep, {"a": deep}, 10**300, ["x" * 1000] * 1000):
        assert len(brief(value)) < 600


# --- seals -----------------------------------------------------------------------------------------------


def test_a_seal_is_of_the_content_and_not_of_its_looks() -> None:
    content = {"b": [1, 2.5, None, "é\ud800"], "a": {"y": 1, "x": -0.0}}
    one = sealed(content)
    assert unsealed(one) == (content, Seal.WHOLE)
    assert unsealed(json.loads(json.dumps(dict(reversed(one.items())), indent=3))) == (content, Seal.WHOLE)
    assert sealed(one) == one
    assert unsealed(content) == (content, Seal.NONE)
    canonical = '{"a":{"x":-0.0,"y":1},"b":[1,2.5,null,"\\u00e9\\ud800"]}'
    assert one["sha256"] == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(a=1.0),
        lambda data: data.update(a=True),
        lambda data: data.update(b="1"),
        lambda data: data.pop("b"),
        lambda data: data.update(c=None),
        lambda data: data.update(sha256="0" * 64),
        lambda data: data.update(sha256=None),
        lambda data: data.update(sha256=data["sha256"].upper()),
    ],
)
def test_any_other_content_breaks_the_seal(change: Callable[[dict[str, Any]], Any]) -> None:
    data = sealed({"a": 1, "b": "é"})
    change(data)
    assert unsealed(data)[1] is Seal.BROKEN
