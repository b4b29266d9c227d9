"""Foreign words stay words."""

from __future__ import annotations

from app.text import error_text, plain
from discogp.errors import TaskError


def test_an_image_is_not_fetched_and_a_link_not_made():
    assert plain("![x](http://elsewhere/x.png)") == "\\!\\[x\\]\\(http\\://elsewhere/x.png\\)"


def test_ordinary_words_stay():
    assert plain("98 of 1,519 edges · 6.5 %") == "98 of 1,519 edges · 6.5 %"


def test_own_errors_are_told_as_they_are_and_others_with_their_kind():
    assert error_text(TaskError("no prompts")) == "no prompts"
    assert error_text(KeyError("a_b")) == "KeyError\\: 'a\\_b'"
