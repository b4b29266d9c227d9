"""Leave-one-out behind the page: progress, cancelling, a second try, a result that is kept."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from app.explore.survey import Survey


class Work:
    """Stands in for a session's leave-one-out: waits for `go` after its first report."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls, self.error, self.go = 0, error, threading.Event()

    def __call__(self, report: Any) -> Any:
        self.calls += 1
        report(1, 4)
        assert self.go.wait(20)
        report(3, 4)
        if self.error is not None:
            raise self.error
        return "found"


def until(condition: Any) -> None:
    for _ in range(4000):
        if condition():
            return
        time.sleep(0.005)
    pytest.fail("it never came about")


def test_a_result_is_kept():
    work = Work()
    survey = Survey(work)
    assert (survey.running, survey.result, survey.error) == (False, None, None)
    survey.start()
    survey.start()
    until(lambda: survey.progress == 0.25)
    assert survey.running
    assert survey.result is None
    work.go.set()
    until(lambda: not survey.running)
    assert (survey.result, survey.progress) == ("found", 0.75)
    survey.start()
    assert (survey.running, work.calls) == (False, 1)


def test_cancelled_and_begun_again():
    work = Work()
    survey = Survey(work)
    survey.start()
    survey.cancel()
    work.go.set()
    until(lambda: not survey.running)
    assert (survey.result, survey.error) == (None, None)
    survey.start()
    until(lambda: not survey.running)
    assert survey.result == "found"


def test_a_failure_is_told_and_can_be_tried_again():
    work = Work(MemoryError("no room"))
    survey = Survey(work)
    work.go.set()
    survey.start()
    until(lambda: not survey.running)
    assert survey.error is work.error
    assert survey.result is None
    work.error = None
    survey.start()
    until(lambda: not survey.running)
    assert (survey.result, survey.error) == ("found", None)
