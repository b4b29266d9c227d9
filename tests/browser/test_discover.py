"""Discover in a real browser: a search from the form to the graph, through a refresh; and cancelling at once."""

from __future__ import annotations

import pytest

from discogp.runs import Run, RunStore

pytestmark = pytest.mark.browser


def fill(visit, label: str, value: int) -> None:
    field = visit.page.get_by_label(label, exact=True)
    field.fill(str(value))
    field.press("Enter")


def settings(visit, steps: int) -> None:
    """A search of so many steps, on few prompts."""
    visit.open("discover")
    visit.page.get_by_text("All settings").click()
    for label, value in (("Train", 32), ("Validation", 16), ("Test", 16), ("Steps", steps), ("Evaluations", 2)):
        fill(visit, label, value)
        visit.page.wait_for_timeout(250)  # a field's value travels before the next one's


def newest(app) -> Run:
    run = RunStore(app.home / "runs").list()[0]
    assert isinstance(run, Run)
    return run


def test_find_a_circuit_and_open_it(visit, app):
    settings(visit, steps=6)
    visit.page.get_by_role("button", name="Find circuit").click()
    visit.page.get_by_role("button", name="Cancel").wait_for()
    visit.page.reload()
    visit.page.get_by_role("button", name="Open in Explore").wait_for(timeout=150_000)
    run = newest(app)
    assert run.state == "done"
    assert run.settings.config["edges"]["steps"] == 6
    visit.page.locator(".js-plotly-plot").first.wait_for(timeout=90_000)  # drawn a moment after the buttons
    visit.page.get_by_role("button", name="Open in Explore").click()
    visit.graph_drawn()
    visit.page.wait_for_function("id => decodeURIComponent(location.search).includes(id)", arg=f"run:{run.id}")


def test_cancel_ends_a_search_long_before_its_last_step(visit, app):
    settings(visit, steps=5000)
    visit.page.get_by_role("button", name="Find circuit").click()
    visit.page.get_by_role("button", name="Cancel").click()
    visit.page.get_by_text("cancelled").first.wait_for()
    assert newest(app).state == "cancelled"


def test_a_model_folder_that_does_not_exist_is_refused_in_the_form(visit):
    visit.open("discover")
    model = visit.page.get_by_role("combobox", name="Model")
    model.fill("/no/such/folder")
    model.press("Enter")
    visit.page.get_by_text("does not exist").wait_for()
    assert visit.page.get_by_role("button", name="Find circuit").is_disabled()
