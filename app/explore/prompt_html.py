"""One prompt and what the parts of a model say to it, as HTML. Everything from files and models is escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import zip_longest
from typing import TYPE_CHECKING

from app.tables import verdict
from discogp.circuits.describe import PART_LABELS
from discogp.tasks.spacing import visible

if TYPE_CHECKING:
    from discogp.evaluation.one_prompt import Said
    from discogp.evaluation.positions import Guess

_TITLES = {**PART_LABELS, "edited": "your edit"}
_SPACE = re.compile("^·")


def prompt_strip(
    tokens: Sequence[str], right: Sequence[str], wrong: Sequence[str], says: Mapping[str, Said | None]
) -> str:
    """The prompt token by token, its answers, and of every part how likely it holds the right and the wrong ones; None
    of a part that is still being asked."""
    text = "".join(map(_token, tokens))
    shown = f'<div class="dg-asked"><span>{text}</span> {_answers(right, wrong)}</div>'
    parts = "".join(_part(part, said) for part, said in says.items())
    return f'<div class="dg-strip">{shown}<div class="dg-says">{parts}</div></div>'


def _token(token: str) -> str:
    """Where one ends shows by its underline, so its space may be a space; a token that opens a text is no word."""
    opening = ' class="dg-special"' if token.startswith("<") and token.endswith(">") else ""
    return f"<i{opening}>{escape(_SPACE.sub(' ', token, count=1))}</i>"


def _answers(right: Sequence[str], wrong: Sequence[str]) -> str:
    rights, wrongs = (_words(words) for words in (right, wrong))
    return (
        f'<code class="dg-right" title="Right answer">{rights}</code>'
        f'<code class="dg-wrong" title="Wrong answer">{wrongs}</code>'
    )


def _words(words: Sequence[str], most: int = 3) -> str:
    more = f" … {len(words) - most} more" if len(words) > most else ""
    return escape(" / ".join(word.strip() or word for word in words[:most]) + more)


def _part(part: str, said: Said | None) -> str:
    if said is None:
        return f'<div class="dg-part"><b>{escape(_TITLES.get(part, part))} …</b></div>'
    title = f"Most likely next: {said.top[0].text.strip() or repr(said.top[0].text)}" if said.top else ""
    return (
        f'<div class="dg-part dg-of-{escape(part, quote=True)}" title="{escape(title, quote=True)}">'
        f"<b>{escape(_TITLES.get(part, part))} {verdict(said.is_right)}</b>"
        f"{_bar('right', said.right)}{_bar('wrong', said.wrong)}</div>"
    )


def _bar(side: str, share: float) -> str:
    return (
        f'<span class="dg-bar dg-bar-{side}" role="img" aria-label="{side} {share:.0%}">'
        f'<span style="width: {100 * share:.1f}%"></span></span><small>{_chance(share)}</small>'
    )


def _chance(share: float) -> str:
    """As many digits as mean something."""
    if 0 < share < 0.001:
        return "&lt;0.1 %"
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"


def top_table(says: Mapping[str, Said], right: Sequence[str], wrong: Sequence[str]) -> str:
    """The likeliest next tokens by part, side by side; what the circuit's own list lacks is marked in the edit's."""
    head = "".join(f"<th>{escape(_TITLES.get(part, part))}</th>" for part in says)
    known = {guess.text for guess in says["circuit"].top} if "circuit" in says else set()

    def cell(part: str, guess: Guess | None) -> str:
        if guess is None:
            return "<td></td>"
        new = " dg-new" if part == "edited" and guess.text not in known else ""
        text = escape(visible(guess.text) or "∅")
        kind = _kind(guess.text, right, wrong)
        return f'<td><code class="{kind}{new}">{text}</code> <small>{_chance(guess.probability)}</small></td>'

    body = ""
    for place, guesses in enumerate(zip_longest(*(said.top for said in says.values())), start=1):
        cells = "".join(cell(part, guess) for part, guess in zip(says, guesses, strict=True))
        body += f'<tr><td class="dg-number">{place}</td>{cells}</tr>'
    return f'<table class="dg-prompts dg-top"><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>'


def _kind(text: str, right: Sequence[str], wrong: Sequence[str]) -> str:
    if text in right:
        return "dg-right"
    return "dg-wrong" if text in wrong else ""
