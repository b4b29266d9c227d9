"""Figures that refine behind the page: the newest click first, older work ended, visitors in turn, results kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from app.explore.refining import Refiner
from discogp.evaluation.outcome import Outcome

A, B, C = frozenset("a"), frozenset("b"), frozenset("c")
N = 6


def outcome(n: int) -> Outcome:
    no, zero = np.zeros(n, bool), np.zeros(n, np.float32)
    return Outcome(no, np.zeros(n, np.int64), no, zero, zero)


class Engine:
    """Three batches of two prompts for every set of names; each waits until `step` allows it."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, int]] = []
        self.allowed = threading.Semaphore(0)
        self.broken: set[str] = set()

    def begin(self, names: frozenset[str]) -> Iterator[Outcome]:
        (name,) = names
        if name == "unknown":
            raise ValueError(name)
        return self._run(name)

    def _run(self, name: str) -> Iterator[Outcome]:
        for known in (2, 4, 6):
            assert self.allowed.acquire(timeout=20)
            if name in self.broken:
                raise MemoryError(name)
            self.ran.append((name, known))
            yield outcome(known)

    def step(self, n: int = 1) -> None:
        """Let so many batches run, and wait until they have."""
        done = len(self.ran) + n
        self.allowed.release(n)
        until(lambda: len(self.ran) >= done)


def until(condition: Callable[[], Any]) -> None:
    for _ in range(4000):
        if condition():
            return
        time.sleep(0.005)
    pytest.fail("it never came about")


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def refiner(engine: Engine) -> Refiner:
    return Refiner(engine.begin, N)


def test_first_figures_then_all(engine: Engine, refiner: Refiner) -> None:
    wanted = refiner.ask("me", A)
    assert (wanted.outcome, wanted.settled) == (None, False)
    wanted.wait(0.01)
    engine.step()
    wanted.wait(20)
    assert wanted.outcome is not None
    assert (len(wanted.outcome), wanted.settled, refiner.busy) == (2, False, True)
    engine.allowed.release(2)
    wanted.wait(20, settled=True)
    assert (len(wanted.outcome), wanted.settled) == (6, True)
    until(lambda: not refiner.busy)
    assert refiner.ask("me", A) is wanted
    assert engine.ran == [("a", 2), ("a", 4), ("a", 6)]


def test_a_newer_click_ends_the_work_of_the_older_within_a_batch(engine: Engine, refiner: Refiner) -> None:
    old = refiner.ask("me", A)
    engine.step()
    old.wait(20)
    new = refiner.ask("me", B)
    engine.allowed.release(4)  # at most one of them is the older one's, which had begun
    new.wait(20, settled=True)
    assert new.settled
    assert not old.settled
    assert [name for name, _ in engine.ran].count("a") <= 2
    assert engine.ran[-3:] == [("b", 2), ("b", 4), ("b", 6)]


def test_going_back_goes_on_where_it_was(engine: Engine, refiner: Refiner) -> None:
    old = refiner.ask("me", A)
    engine.step()
    old.wait(20)
    refiner.ask("me", B)
    assert refiner.ask("me", A) is old
    engine.allowed.release(6)
    old.wait(20, settled=True)
    assert [known for name, known in engine.ran if name == "a"] == [2, 4, 6]


def test_two_visitors_are_served_in_turn(engine: Engine, refiner: Refiner) -> None:
    mine = refiner.ask("me", A)
    until(lambda: refiner.busy)
    time.sleep(0.05)  # the first batch is under way
    yours = refiner.ask("you", B)
    engine.allowed.release(6)
    mine.wait(20, settled=True)
    yours.wait(20, settled=True)
    assert [name for name, _ in engine.ran] == ["a", "b", "a", "b", "a", "b"]


def test_what_two_wait_for_goes_on_when_one_turns_away(engine: Engine, refiner: Refiner) -> None:
    mine = refiner.ask("me", A)
    assert refiner.ask("you", A) is mine
    refiner.give_up("me")
    engine.allowed.release(3)
    mine.wait(20, settled=True)
    assert mine.settled


def test_nobody_waiting_nothing_runs(engine: Engine, refiner: Refiner) -> None:
    mine = refiner.ask("me", A)
    engine.step()
    mine.wait(20)
    refiner.give_up("me")
    engine.allowed.release(1)
    until(lambda: not refiner.busy)
    assert not mine.settled
    assert len(engine.ran) <= 2


def test_an_export_waits_for_all_prompts_whatever_is_clicked(engine: Engine, refiner: Refiner) -> None:
    found: list[Outcome] = []
    waiting = threading.Thread(target=lambda: found.append(refiner.settled(A)))
    waiting.start()
    until(lambda: refiner.busy)
    refiner.ask("me", B)
    refiner.ask("me", C)
    engine.allowed.release(9)
    waiting.join(20)
    assert [len(one) for one in found] == [6]


def test_a_failure_is_told_to_who_asked_and_tried_again_when_asked_again(engine: Engine, refiner: Refiner) -> None:
    engine.broken.add("a")
    wanted = refiner.ask("me", A)
    engine.allowed.release()
    wanted.wait(20)
    assert isinstance(wanted.error, MemoryError)
    engine.broken.clear()
    assert refiner.ask("me", A) is wanted, "looking again at a failure does not try again"
    refiner.give_up("me")
    again = refiner.ask("me", A)
    assert again is not wanted
    engine.allowed.release(3)
    again.wait(20, settled=True)
    assert again.settled
    engine.broken.add("b")
    engine.allowed.release()
    with pytest.raises(MemoryError):
        refiner.settled(B)


def test_an_unknown_name_is_told_at_once(refiner: Refiner) -> None:
    with pytest.raises(ValueError, match="unknown"):
        refiner.ask("me", frozenset({"unknown"}))


def test_a_thread_that_has_ended_is_followed_by_another(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.explore import refining

    monkeypatch.setattr(refining, "_IDLE", 0.01)
    refiner = Refiner(engine.begin, N)
    engine.allowed.release(6)
    for names in (A, B):
        wanted = refiner.ask("me", names)
        wanted.wait(20, settled=True)
        assert wanted.settled
        until(lambda: not refiner._running)


def test_a_circuit_that_nobody_asks_of_rests_once_and_asked_again_works(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.explore import refining

    monkeypatch.setattr(refining, "_IDLE", 0.3)
    rested: list[float] = []

    def rest() -> bool:
        rested.append(time.monotonic())
        return len(rested) != 1  # the first time something is under way

    refiner = Refiner(engine.begin, N, rest)
    engine.allowed.release(9)
    asked = [time.monotonic()]
    refiner.ask("me", A).wait(20, settled=True)
    time.sleep(0.2)
    asked.append(time.monotonic())
    refiner.ask("me", A)  # a look at what is known puts it off
    until(lambda: not refiner._running)
    assert len(rested) == 2
    assert rested[0] - asked[1] >= 0.29
    assert rested[1] - rested[0] >= 0.29
    refiner.ask("me", A)
    until(lambda: not refiner._running)
    assert len(rested) == 3, "a look alone, later, is followed by a rest"
