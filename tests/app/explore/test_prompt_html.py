"""The strip and the table of one prompt: shares as they are, markup as the characters it is."""

from __future__ import annotations

import re

from app.explore.prompt_html import prompt_strip, top_table
from discogp.evaluation.one_prompt import Said
from discogp.evaluation.positions import Guess

EVIL = "<img src=x onerror=alert(1)>'\"&"


def said(right: float, wrong: float, is_right: bool = True, *top: str) -> Said:
    return Said(right, wrong, is_right, 1.0, tuple(Guess(text, 0.1) for text in top))


def test_bars_are_as_long_as_the_answers_are_likely() -> None:
    html = prompt_strip(["a"], ["x"], ["y"], {"full": said(0.93, 0.02), "edited": said(0.0004, 0.5, False)})
    assert re.findall(r"width: ([\d.]+)%", html) == ["93.0", "2.0", "0.0", "50.0"]
    assert re.findall(r"<small>(.*?)</small>", html) == ["93 %", "2.0 %", "&lt;0.1 %", "50 %"]
    assert re.findall(r"<b>(.*?) <span class=\"dg-(\w+)", html) == [("full model", "good"), ("your edit", "bad")]


def test_a_tokens_space_is_a_space_and_an_opening_token_is_set_apart() -> None:
    html = prompt_strip(["<|endoftext|>", "Then", "·Henry", "·"], ["x"], ["y"], {})
    assert re.findall(r"<i[^>]*>(.*?)</i>", html) == ["&lt;|endoftext|&gt;", "Then", " Henry", " "]
    assert html.count("dg-special") == 1


def test_markup_is_shown_as_it_is() -> None:
    says = {"full": said(1.0, 0.0, True, EVIL), "circuit": said(1.0, 0.0, True, EVIL), EVIL: said(1.0, 0.0, True, EVIL)}
    for html in (prompt_strip([EVIL], [EVIL], [EVIL], says), top_table(says, [EVIL], [EVIL])):
        assert "<img" not in html
        assert "&lt;img" in html


def test_what_the_edit_brings_in_is_marked_and_answers_too() -> None:
    says = {"circuit": said(1.0, 0.0, True, " a", " b"), "edited": said(1.0, 0.0, True, " b", " c")}
    html = top_table(says, [" a"], [" b"])
    cells = re.findall(r'<code class="([^"]*)">(.*?)</code>', html)
    assert cells == [("dg-right", "·a"), ("dg-wrong", "·b"), ("dg-wrong", "·b"), (" dg-new", "·c")]


def test_lists_of_different_lengths_and_none() -> None:
    assert (
        top_table({"circuit": said(1.0, 0.0, True, "a"), "edited": said(1.0, 0.0, True, "a", "b")}, [], []).count(
            "<tr>"
        )
        == 3
    )
    assert top_table({}, [], []).count("<tr>") == 1
    assert "… 4 more" in prompt_strip([], [str(i) for i in range(7)], ["y"], {})


def test_what_is_still_being_asked_has_no_figures() -> None:
    html = prompt_strip(["a"], ["x"], ["y"], {"circuit": said(0.5, 0.1), "edited": None})
    assert "<b>your edit …</b>" in html
    assert html.count("dg-bar-right") == 1
