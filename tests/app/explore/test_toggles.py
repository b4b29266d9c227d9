"""Undo and redo, and what the graph is told of them."""

from __future__ import annotations

from app.explore.toggles import History, Toggles

A = Toggles.of(["input->m0"], [])
AB = Toggles.of(["input->m0"], ["a0.h1"])


def test_a_click_is_remembered_but_not_sent_back():
    history = History()
    assert history.clicked(1, A)
    assert history.clicked(2, AB)
    assert (history.current, history.revision, history.sent) == (AB, 0, Toggles())


def test_a_report_counts_once():
    history = History()
    history.clicked(1, A)
    assert not history.clicked(1, A)
    history.undo()
    assert not history.clicked(1, A), "the graph's last report is still there after an undo, and is old news"
    assert history.current == Toggles()


def test_an_unclicked_graph_reports_nothing():
    history = History()
    history.set(A)
    assert not history.clicked(0, Toggles())
    assert history.current == A


def test_undo_redo_reset():
    history = History()
    history.clicked(1, A)
    history.clicked(2, AB)
    history.undo()
    assert (history.current, history.sent, history.revision) == (A, A, 1)
    history.redo()
    assert (history.current, history.revision) == (AB, 2)
    history.set(Toggles())
    assert not history.current
    history.undo()
    assert history.current == AB
    history.clicked(3, A)
    assert not history.future, "a new click ends what could be redone"


def test_undo_of_nothing_changes_nothing():
    history = History()
    history.undo()
    history.redo()
    assert history.revision == 0


def test_a_new_graph_is_told_where_things_stand():
    history = History()
    history.clicked(1, A)
    history.remounted()
    assert (history.sent, history.revision) == (A, 1)
    assert history.clicked(1, AB), "its count begins at one again"
