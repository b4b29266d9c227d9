"""Which edges matter, behind the page: in what order, how far before it rests, paused, cancelled, asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from app.explore import survey as module
from app.explore.survey import SEED, Survey
from app.explore.widths import widths_of
from discogp.circuits.circuit import Circuit
from discogp.circuits.graph import ComputationGraph
from discogp.evaluation.minimality import Effect, sample_order
from discogp.evaluation.uncertainty import wilson

CIRCUIT = Circuit.full(ComputationGraph(3, 4))
N = CIRCUIT.n_edges


class Session:
    """Stands in for a circuit's session: every edge's effect is its place among the edges, every third one is idle.

    Each chunk takes `seconds` an edge, and waits for `go`.
    """

    def __init__(self, clock: Clock, seconds: float = 0.001, error: Exception | None = None) -> None:
        self.base, self.clock, self.seconds, self.error = CIRCUIT, clock, seconds, error
        self.done: list[str] = []
        self.go = threading.Event()
        self.go.set()

    def first_order(self) -> Any:
        if self.error is not None:
            raise self.error
        return SimpleNamespace(by_name={name: float(N - i) for i, name in enumerate(CIRCUIT.edges)})

    def effects(self, chunks: Iterator[Sequence[str]]) -> Iterator[tuple[Effect, ...]]:
        for chunk in chunks:
            assert self.go.wait(20)
            self.clock.now += self.seconds * len(chunk)
            self.done += chunk
            yield tuple(self.effect(name) for name in chunk)

    @staticmethod
    def effect(name: str) -> Effect:
        place = CIRCUIT.edges.index(name)
        return Effect(name, 0.0 if place % 3 == 0 else 1.0, 0, 0.0, 0.0, 0.0, -float(place))


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic, sleep=time.sleep))
    return clock


def until(condition: Callable[[], bool]) -> None:
    for _ in range(4000):
        if condition():
            return
        time.sleep(0.005)
    pytest.fail("it never came about")


def test_where_it_is_quick_all_edges_are_left_out_the_strongest_first(clock: Clock) -> None:
    session = Session(clock)
    survey = Survey(session)
    assert (survey.begun, survey.running, survey.share) == (False, False, None)
    survey.start()
    survey.start()
    until(lambda: survey.complete)
    assert session.done == list(CIRCUIT.edges)
    assert list(survey.estimates) == list(CIRCUIT.edges)
    idle = -(-N // 3)
    share = survey.share
    assert share is not None
    assert (share.idle, share.n, share.interval) == (idle, N, None)
    assert share.needed == pytest.approx(1 - idle / N)
    assert survey.agreement == pytest.approx(1)
    survey.start()
    survey.everything()
    assert (survey.running, len(session.done)) == (False, N)


def test_where_it_is_slow_it_rests_after_the_strongest_and_a_sample(clock: Clock) -> None:
    session = Session(clock, seconds=1.0)
    survey = Survey(session)
    survey.start()
    until(lambda: survey.begun and not survey.running)
    strongest, sample = CIRCUIT.edges[:24], sample_order(CIRCUIT, SEED)[:60]
    assert session.done[:24] == list(strongest)
    assert set(session.done) == {*strongest, *sample}
    assert len(set(session.done)) == len(session.done) < N
    share = survey.share
    assert share is not None
    # Told from the sample alone: the strongest are no random edges, unless the random order goes on with them.
    drawn = list(sample)
    for name in sample_order(CIRCUIT, SEED)[60:]:
        if name not in strongest:
            break
        drawn.append(name)
    idle = sum(session.effect(name).idle for name in drawn)
    assert (share.n, share.idle) == (len(drawn), idle)
    assert share.interval == wilson(len(drawn) - idle, len(drawn))
    assert survey.seconds_left == pytest.approx(N - len(session.done))
    survey.everything()
    until(lambda: survey.complete)
    assert len(set(session.done)) == len(session.done) == N
    assert survey.share is not None
    assert survey.share.interval is None


def test_edges_that_are_asked_for_come_first(clock: Clock) -> None:
    session = Session(clock, seconds=1.0)
    session.go.clear()
    survey = Survey(session)
    survey.start()
    until(lambda: bool(survey.estimates))
    weakest = list(CIRCUIT.edges[-3:])
    time.sleep(0.1)  # the first chunk is chosen
    survey.ask([*weakest, weakest[0]])
    session.go.set()
    until(lambda: not survey.running)
    assert session.done[4:7] == weakest
    survey.ask(CIRCUIT.edges[:1])
    until(lambda: not survey.running)
    assert session.done.count(CIRCUIT.edges[0]) == 1
    left = next(name for name in CIRCUIT.edges if name not in survey.effects)
    survey.ask([left])
    until(lambda: left in survey.effects)
    until(lambda: not survey.running)


def test_paused_it_stands_still_and_cancelled_it_forgets(clock: Clock) -> None:
    session = Session(clock)
    session.go.clear()
    survey = Survey(session)
    survey.start()
    until(lambda: bool(survey.estimates))
    survey.pause()
    session.go.set()
    until(lambda: len(survey.effects) > 0)
    time.sleep(0.3)
    done = len(survey.effects)
    time.sleep(0.3)
    assert (survey.paused, survey.running, len(survey.effects)) == (True, True, done)
    assert done < N
    survey.go_on()
    until(lambda: survey.complete)
    survey.cancel()
    assert (survey.begun, survey.effects, survey.estimates) == (False, {}, {})
    survey.start()
    until(lambda: survey.complete)


def test_cancelled_in_the_middle_nothing_of_it_comes_back(clock: Clock) -> None:
    session = Session(clock)
    session.go.clear()
    survey = Survey(session)
    survey.start()
    until(lambda: bool(survey.estimates))
    survey.cancel()
    session.go.set()
    time.sleep(0.3)
    assert (survey.begun, survey.running, survey.effects) == (False, False, {})
    assert len(session.done) < N


def test_it_stands_back_while_somebody_waits_for_a_click(clock: Clock) -> None:
    session = Session(clock)
    busy = [True]
    survey = Survey(session, lambda: bool(busy))
    survey.start()
    until(lambda: bool(survey.estimates))
    time.sleep(0.3)
    assert session.done == []
    busy.clear()
    until(lambda: survey.complete)


def test_a_failure_is_told_and_can_be_tried_again(clock: Clock) -> None:
    session = Session(clock, error=MemoryError("no room"))
    survey = Survey(session)
    survey.start()
    until(lambda: survey.error is not None)
    assert survey.error is session.error
    assert (survey.begun, survey.running) == (False, False)
    session.error = None
    survey.start()
    until(lambda: survey.complete)
    assert survey.error is None


def test_estimates_alone_are_found_out_once_and_serve_the_rest():
    session = Session(Clock())
    counted: list[int] = []
    first_order = session.first_order
    session.first_order = lambda: counted.append(1) or first_order()  # type: ignore[method-assign, func-returns-value]
    survey = Survey(session)
    assert not survey.estimating
    survey.estimate()
    survey.estimate()
    until(lambda: bool(survey.estimates))
    assert (survey.estimating, survey.begun, survey.effects, session.done) == (False, False, {}, [])
    survey.start()
    until(lambda: bool(survey.effects))
    assert counted == [1]
    survey.cancel()
    assert survey.estimates == {}
    survey.estimate()
    until(lambda: bool(survey.estimates))
    assert counted == [1, 1]


def test_estimates_that_fail_are_told_and_hinder_nothing():
    session = Session(Clock(), error=ValueError("no"))
    survey = Survey(session)
    survey.estimate()
    until(lambda: survey.estimate_error is not None)
    assert not survey.estimating
    session.error = None
    survey.start()
    until(lambda: bool(survey.effects))
    assert survey.estimate_error is None


def test_widths_are_estimates_until_every_edge_was_left_out():
    survey = Survey(Session(Clock()))
    assert widths_of(CIRCUIT, survey) is None
    survey.estimate()
    until(lambda: bool(survey.estimates))
    found = widths_of(CIRCUIT, survey)
    assert found is not None
    assert (found.name, found.values.tolist()) == ("estimate", [float(N - i) for i in range(N)])
    survey.everything()
    until(lambda: survey.complete)
    exact = widths_of(CIRCUIT, survey)
    assert exact is not None
    assert (exact.name, exact.values.tolist()) == ("effect", [-float(i) for i in range(N)])
