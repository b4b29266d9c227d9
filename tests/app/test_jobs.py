"""The queue behind the page: order, two at a time, cancelled, failed, clicks first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.jobs import CancelledError, Job, Jobs, clicks_first
from discogp.models.turns import give_way

LONG = 20.0


class Gate:
    """Work that begins, and ends when it is let go."""

    def __init__(self, between: Callable[[], None] = lambda: None) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self._between = between

    def __call__(self) -> str:
        self.begun.set()
        while not self.go.wait(0.01):
            self._between()
        return "done"


@pytest.fixture
def gates() -> Iterator[list[Gate]]:
    made = [Gate() for _ in range(4)]
    yield made
    for gate in made:
        gate.go.set()


def states(*jobs: Job) -> list[str]:
    return [job.state for job in jobs]


def test_two_run_and_the_others_wait_in_order(gates: list[Gate]) -> None:
    jobs = Jobs()
    first, second, third, fourth = (jobs.submit(f"job {i}", gate) for i, gate in enumerate(gates))
    assert states(first, second, third, fourth) == ["running", "running", "waiting", "waiting"]
    assert jobs.listed() == (first, second, third, fourth)
    gates[1].go.set()
    assert second.future.result(LONG) == "done"
    assert gates[2].begun.wait(LONG)
    assert states(first, second, third, fourth) == ["running", "done", "running", "waiting"]


def test_what_may_not_join_waits_and_holds_up_none_behind_it(gates: list[Gate]) -> None:
    jobs = Jobs(lambda job, running: all(job.model != other.model for other in running))
    first = jobs.submit("a", gates[0], "large")
    second = jobs.submit("b", gates[1], "large")
    third = jobs.submit("c", gates[2], "mini")
    assert gates[2].begun.wait(LONG)
    assert states(first, second, third) == ["running", "waiting", "running"]
    gates[0].go.set()
    assert gates[1].begun.wait(LONG)


def test_a_waiting_job_that_is_cancelled_never_begins(gates: list[Gate]) -> None:
    jobs = Jobs()
    listed = [jobs.submit(f"job {i}", gate) for i, gate in enumerate(gates)]
    jobs.cancel(listed[2])
    assert listed[2].state == "cancelled"
    with pytest.raises(CancelledError, match="'job 2' was cancelled; ask for it again"):
        listed[2].future.result(LONG)
    gates[0].go.set()
    assert gates[3].begun.wait(LONG)
    assert not gates[2].begun.is_set()


def test_a_running_job_that_is_cancelled_ends_at_its_next_step() -> None:
    jobs, gate = Jobs(), Gate(give_way)
    job = jobs.submit("long", gate)
    assert gate.begun.wait(LONG)
    jobs.cancel(job)
    with pytest.raises(CancelledError):
        job.future.result(LONG)
    assert until(lambda: job.state == "cancelled")
    assert jobs.listed() == ()


def test_what_asks_nobody_keeps_its_place_until_it_has_ended(gates: list[Gate]) -> None:
    """Its result is thrown away, but its memory is not free before."""
    jobs = Jobs(lambda job, running: False)
    deaf, next_one = jobs.submit("deaf", gates[0]), jobs.submit("next", gates[1])
    assert gates[0].begun.wait(LONG)
    jobs.cancel(deaf)
    assert states(deaf, next_one) == ["stopping", "waiting"]
    gates[0].go.set()
    assert gates[1].begun.wait(LONG)
    assert deaf.state == "cancelled"
    with pytest.raises(CancelledError):
        deaf.future.result(LONG)


def test_a_failing_job_tells_why_and_the_next_begins(gates: list[Gate]) -> None:
    def fails() -> None:
        raise ValueError("no such thing")

    jobs = Jobs(lambda job, running: False)
    failing, following = jobs.submit("fails", fails), jobs.submit("follows", gates[0])
    with pytest.raises(ValueError, match="no such thing"):
        failing.future.result(LONG)
    assert gates[0].begun.wait(LONG)
    assert states(failing, following) == ["failed", "running"]


def test_work_pauses_while_a_click_is_answered() -> None:
    steps: list[int] = []

    def step() -> None:
        give_way()
        steps.append(1)

    jobs, gate = Jobs(), Gate(step)
    job = jobs.submit("long", gate)
    assert until(lambda: len(steps) > 2)
    with clicks_first():
        most = len(steps) + 1  # the step that it was in
        with pytest.raises(TimeoutError):
            until(lambda: len(steps) > most, 0.3)
        seen = len(steps)
    assert until(lambda: len(steps) > seen + 2)
    gate.go.set()
    assert job.future.result(LONG) == "done"


def test_cancelling_what_pauses_ends_it() -> None:
    jobs, gate = Jobs(), Gate(give_way)
    job = jobs.submit("long", gate)
    assert gate.begun.wait(LONG)
    with clicks_first():
        jobs.cancel(job)
        assert until(lambda: job.state == "cancelled")


def until(true: Callable[[], Any], seconds: float = LONG) -> bool:
    waited = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if true():
            return True
        waited.wait(0.01)
    raise TimeoutError
