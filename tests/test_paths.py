"""What is replaced on disk is replaced whole, or not at all."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from discogp.paths import replaced_file, replaced_folder


class Broken(Exception):
    pass


def break_off(replaced: AbstractContextManager[Path]) -> None:
    with replaced as temporary:
        (temporary / "half" if temporary.is_dir() else temporary).write_text("half")
        raise Broken


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced_at_the_end(tmp_path: Path, sync: bool) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    with replaced_file(target, sync=sync) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert target.read_text() == "new"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_text("old")
    with pytest.raises(Broken):
        break_off(replaced_file(target))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_is_replaced_at_the_end(tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "deep" / "a"
    if exists:
        target.mkdir(parents=True)
        (target / "old").touch()
    with replaced_folder(target) as staging:
        (staging / "new").touch()
        assert target.exists() == exists
    assert [path.name for path in target.parent.iterdir()] == ["a"]
    assert [path.name for path in target.iterdir()] == ["new"]


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(Broken):
        break_off(replaced_folder(target))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in target.iterdir()] == ["old"]
