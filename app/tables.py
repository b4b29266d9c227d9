"""The two tables beside and below the graph, as HTML: light enough to be made anew at every click.

Everything that comes from a file or a model is escaped; markup in a prompt shows as the characters it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite
from typing import TYPE_CHECKING

from discogp.circuits.describe import percent
from discogp.circuits.measures import Measure, measures

if TYPE_CHECKING:
    from discogp.evaluation.positions import Position


MINUS = "−"


@dataclass(frozen=True)
class Row:
    """One line of the metrics table. `metrics` is None while it is not known yet.

    `versus`: the figures that changes are from; `errors`: standard errors of figures that are still being computed.
    """

    title: str
    detail: str
    metrics: Mapping[str, float] | None
    versus: Mapping[str, float] | None = None
    role: str = ""
    errors: Mapping[str, float] | None = None


@dataclass(frozen=True)
class ChangedPrompt:
    """A prompt that the toggles changed. Logit differences: right answer minus wrong one."""

    prompt: str
    answer: str
    full: str
    before: str
    after: str
    right_before: bool
    right_after: bool
    difference_before: float
    difference_after: float


def metrics_table(rows: Sequence[Row], revision: str = "", settled: bool = True) -> str:
    """`revision` becomes a data attribute, by which a test sees that the numbers are those of its click, and so does
    whether they are of all prompts."""
    head = "".join(f'<th title="{escape(m.help, quote=True)}">{escape(m.short)}</th>' for m in measures())
    body = "".join(_metrics_row(row) for row in rows)
    return (
        f'<table class="dg-metrics" data-revision="{escape(revision, quote=True)}" '
        f'data-settled="{str(settled).lower()}">'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _metrics_row(row: Row) -> str:
    cells = "".join(_metrics_cell(measure, row) for measure in measures())
    detail = f"<small>{escape(row.detail)}</small>" if row.detail else ""
    return f'<tr class="dg-{escape(row.role, quote=True)}"><th>{escape(row.title)}{detail}</th>{cells}</tr>'


def _metrics_cell(measure: Measure, row: Row) -> str:
    value = None if row.metrics is None else row.metrics.get(measure.name)
    if value is None:
        return "<td>–</td>"
    shown = f'<span class="dg-value">{show(value, measure.percent)}</span>{_error(row, measure)}'
    if row.versus is None or (base := row.versus.get(measure.name)) is None:
        return f"<td>{shown}</td>"
    title = ' title="Against the circuit on the same prompts"' if row.errors is not None else ""
    return f"<td{title}>{shown}{_change(value - base, measure)}</td>"


def _error(row: Row, measure: Measure) -> str:
    """How far a figure may be from that of all prompts."""
    if row.errors is None or (error := row.errors.get(measure.name)) is None or not isfinite(error):
        return ""
    size = f"{error * 100:.1f}" if measure.percent else f"{error:.2f}"
    return (
        f'<small class="dg-error" title="One standard error: all prompts may say so much more or less">±{size}</small>'
    )


def _change(change: float, measure: Measure) -> str:
    step = 0.0005 if measure.percent else 0.005  # what the shown digits can tell
    if abs(change) < step:
        return '<span class="dg-change">=</span>'
    kind = "dg-good" if change * measure.better > 0 else "dg-bad"
    arrow = "▲" if change > 0 else "▼"
    size = f"{abs(change) * 100:.1f}" if measure.percent else f"{abs(change):.2f}"
    return f'<span class="dg-change {kind}">{arrow} {size}</span>'


def show(value: float, as_percent: bool) -> str:
    text = f"{value * 100:z.1f} %" if as_percent else f"{value:z.2f}"
    return text.replace("-", MINUS)


def prompts_table(prompts: Sequence[ChangedPrompt], limit: int = 40) -> str:
    """At most `limit` of them, in the order given."""
    body = "".join(_prompt_row(prompt) for prompt in prompts[:limit])
    more = f'<p class="dg-more">… and {len(prompts) - limit} more</p>' if len(prompts) > limit else ""
    return (
        '<div class="dg-scroll"><table class="dg-prompts"><thead><tr><th>Prompt</th><th>Right answer</th>'
        "<th>Full model</th><th>Circuit → without</th>"
        '<th title="Logit of the right answer minus that of the wrong one">Logit diff.</th>'
        f"</tr></thead><tbody>{body}</tbody></table>{more}</div>"
    )


def _prompt_row(row: ChangedPrompt) -> str:
    before, after = _word(row.before, row.right_before), _word(row.after, row.right_after)
    return (
        f'<tr><td class="dg-prompt">{escape(row.prompt)}</td><td>{_word(row.answer)}</td><td>{_word(row.full)}</td>'
        f"<td>{before} → {after}</td>"
        f'<td class="dg-number">{show(row.difference_before, False)} → {show(row.difference_after, False)}</td></tr>'
    )


def tokens_table(rows: Sequence[Position]) -> str:
    """One line a position: the token, what both predict after it, and how far apart they are."""
    body = "".join(_token_row(place, row) for place, row in enumerate(rows))
    return (
        '<div class="dg-scroll dg-tall"><table class="dg-prompts dg-tokens"><thead><tr><th></th><th>Token</th>'
        "<th>Full model: next</th><th>Circuit: next</th>"
        '<th title="KL(full ‖ circuit) over the whole vocabulary, in nats">KL</th>'
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _token_row(place: int, row: Position) -> str:
    shade = f"background: rgba(224, 144, 44, {0.5 * row.kl / (row.kl + 1):.3f})"  # a KL of 1 nat: half of the way
    cells = "".join(
        f"<td>{' '.join(_guess(guess.text, guess.probability, row.follows) for guess in guesses)}</td>"
        for guesses in (row.full, row.circuit)
    )
    return (
        f'<tr style="{shade}"><td class="dg-number">{place}</td><td><code>{_visible(row.token)}</code></td>{cells}'
        f'<td class="dg-number">{show(row.kl, False)}</td></tr>'
    )


def _guess(text: str, probability: float, follows: str | None) -> str:
    mark = verdict(True) if text == follows else ""
    return f'<span class="dg-guess"><code>{_visible(text)}</code>{mark}<small>{probability:.0%}</small></span>'


def _visible(token: str) -> str:
    """Spaces matter in tokens, so they are shown."""
    return escape(token.replace(" ", "␣").replace("\n", "⏎") or "∅")


def verdict(right: bool) -> str:
    return '<span class="dg-good">✓</span>' if right else '<span class="dg-bad">✗</span>'


def _word(text: str, right: bool | None = None) -> str:
    mark = "" if right is None else verdict(right)
    return f"<code>{escape(text.strip() or repr(text))}</code>{mark}"


def chips(names: Sequence[str], limit: int = 24) -> str:
    """The list of what is off."""
    shown = "".join(f"<code>{escape(name)}</code>" for name in names[:limit])
    more = f"<span>and {len(names) - limit} more</span>" if len(names) > limit else ""
    return f'<div class="dg-chips">{shown}{more}</div>'


def share(value: float | None) -> str:
    """A density for people."""
    return "all" if value is None else percent(value)
