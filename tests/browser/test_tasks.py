"""The Tasks page in a real browser: figures on demand, and a file of one's own carried over to Discover."""

from __future__ import annotations

import pytest

from tests.places import ROOT

pytestmark = pytest.mark.browser
EXAMPLE = ROOT / "assets" / "tasks" / "example.csv"


def test_a_check_shows_the_models_figures(visit):
    visit.open("tasks")
    visit.page.locator(".st-key-check-mini-ioi button").click()
    visit.page.wait_for_selector(".dg-figures", timeout=60_000)
    assert "right" in visit.page.locator(".dg-figures").first.inner_text()


def test_a_file_of_ones_own_is_previewed_and_carried_to_discover(visit):
    visit.open("tasks")
    visit.page.get_by_role("tab", name="Your own").click()
    visit.page.set_input_files("input[type=file]", str(EXAMPLE))
    visit.page.get_by_text("Find a circuit for it").wait_for(timeout=60_000)
    assert visit.page.locator(".dg-example .dg-good").count() >= 3
    visit.page.get_by_text("Find a circuit for it").click()
    field = visit.page.get_by_role("textbox", name="Your prompts")
    field.wait_for()
    assert field.input_value().endswith("example.csv")


def test_a_file_that_is_none_says_what_is_wrong(visit, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_bytes(b"prompt,correct\nfoo,bar\n\xff\xfe")
    visit.open("tasks")
    visit.page.get_by_role("tab", name="Your own").click()
    visit.page.set_input_files("input[type=file]", str(bad))
    visit.page.get_by_text("line 1").wait_for(timeout=60_000)
