"""Foreign words stay words."""

from __future__ import annotations

from app.text import plain


def test_an_image_is_not_fetched_and_a_link_not_made():
    assert plain("![x](http://elsewhere/x.png)") == "\\!\\[x\\]\\(http\\://elsewhere/x.png\\)"


def test_ordinary_words_stay():
    assert plain("98 of 1,519 edges · 6.5 %") == "98 of 1,519 edges · 6.5 %"
