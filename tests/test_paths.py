"""What is replaced on disk is replaced whole, or not at all."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from discogp.errors import TaskError
from discogp.paths import home, replaced_file, replaced_folder, user_path


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


@pytest.mark.parametrize("written", ["~nosuchuser/x", "~nosuchuser", "a\0b", "x" * 256, "é" * 128, "y/" * 2100])
def test_what_can_be_no_path(written: str) -> None:
    with pytest.raises(TaskError, match="path '") as caught:
        user_path(written, TaskError)
    assert len(str(caught.value)) < 300


def test_home_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/a") == user_path(Path("~") / "a") == tmp_path / "a"
    assert user_path("a~/~b") == Path("a~/~b")
    assert user_path("x" * 255) == Path("x" * 255)
    monkeypatch.setenv("DISCOGP_HOME", "~/b")
    assert home() == tmp_path / "b"
