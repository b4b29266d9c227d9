"""The Tasks page: every task has a card, a check gives figures, an uploaded file is kept under a harmless name."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.loader import Loader
from app.tasks import gallery
from discogp.errors import TaskError
from tests.app.test_pages import html, page, ran, text
from tests.places import ROOT

EXAMPLE = ROOT / "assets" / "tasks" / "example.csv"


def test_every_built_in_task_has_a_card_with_an_example(home: Path) -> None:
    test = ran(page("tasks").run())
    for task in gallery.built_in():
        assert task.title in html(test)
        assert task.source[:20].replace("*", "") in text(test).replace("\\", "")
    assert html(test).count("dg-right") >= len(gallery.built_in())


def test_a_published_task_without_data_says_where_it_is_looked_for(home: Path) -> None:
    test = page("tasks")
    test.session_state["tasks_data_blimp"] = str(home / "nowhere")
    assert "BLiMP" in text(ran(test.run())) or "blimp" in html(test)


def test_a_check_is_made_once_and_again_when_the_file_has_changed() -> None:
    loader = Loader()
    options = {"file": str(EXAMPLE)}
    assert loader.known_check("mini", "custom", options) is None
    first = loader.check("mini", "custom", options, "1")
    assert loader.check("mini", "custom", options, "1") is first
    assert first.result(timeout=120).accuracy == 1.0
    assert loader.check("mini", "custom", options, "2") is not first
    deadline = time.monotonic() + 60
    while loader.checking() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert loader.checks_done() == 1


@pytest.mark.parametrize(
    ("name", "kept"),
    [("a.csv", "a.csv"), ("../../etc/passwd", "etc-passwd"), ("ü ✓.jsonl", "jsonl"), ("…", "prompts.csv")],
)
def test_uploads_stay_in_their_folder(home: Path, name: str, kept: str) -> None:
    place = Path(gallery.keep_upload(name, b"prompt,correct,wrong\n"))
    assert (place.parent.parent, place.name) == (home / "tasks", kept)
    assert place.read_bytes() == b"prompt,correct,wrong\n"


def test_another_file_of_the_same_name_does_not_replace_the_first(home: Path) -> None:
    first, second = (Path(gallery.keep_upload("prompts.csv", content)) for content in (b"first", b"second"))
    assert (first.read_bytes(), second.read_bytes()) == (b"first", b"second")
    assert gallery.keep_upload("prompts.csv", b"first") == str(first)


def test_a_huge_upload_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "_LARGEST_UPLOAD", 10)
    with pytest.raises(TaskError, match="at most"):
        gallery.keep_upload("a.csv", b"x" * 11)
