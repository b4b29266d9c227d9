"""Explore's first look: one real prompt, and what full model, circuit, edit and complement answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from app import session
from app.explore.prompt_html import prompt_strip, top_table
from app.explore.ticker import look_again
from app.explore.toggles import Toggles
from app.explore.widths import is_quick
from app.explore.workbench import OwnText, Workbench
from app.text import error_text, plain
from discogp.errors import DiscoGPError

if TYPE_CHECKING:
    from discogp.evaluation.one_prompt import Said
    from discogp.evaluation.outcome import Outcome

_ORDERS = ("As listed", "Hardest for the circuit", "Changed most by your edit")
_OWN = -1
_LISTED = 500  # prompts that are sent to the browser to be searched
_LOOK_AGAIN = 0.4
_MOMENT = 0.05


@st.fragment
def strip(key: str, workbench: Workbench, off: Toggles) -> None:
    """The prompt that this visitor chose; the first one before that. Follows what is switched off."""
    shown, chooser = st.columns([9, 2], vertical_alignment="center", gap="small")
    with chooser:
        buttons = st.container(horizontal=True)
    with buttons, st.popover("Other prompt", icon=":material/chat:", width="stretch"):
        prompt = _choose(key, workbench, off)
    names = off.names
    with shown:
        try:
            asked = workbench.one(prompt)
            if later := _comes_later(key, workbench, prompt, names):
                names = frozenset()
            says: dict[str, Said | None] = {**workbench.says(prompt, names)}
        except DiscoGPError as error:
            st.warning(plain(str(error)))
            return
        if later:
            says = {part: says.get(part) for part in ("full", "circuit", "edited", "complement")}
        example = asked.examples[0]
        st.html(prompt_strip(workbench.tokens(asked), example.correct, example.wrong, says))
    if later:
        look_again(_MOMENT, f"strip {key}")
    with buttons, st.popover("Next words", icon=":material/format_list_numbered:", width="stretch"):
        st.html(top_table({part: said for part, said in says.items() if said}, example.correct, example.wrong))
        st.caption("The likeliest next tokens of each. What your edit brings in anew is underlined.")


def _comes_later(key: str, workbench: Workbench, prompt: int | OwnText, names: frozenset[str]) -> bool:
    """Of a large model, what an edit does to the prompt is found out after the first figures of the click, which it
    would delay; the first run of this part after a click so only says that it will come."""
    if is_quick(workbench.session.base) or not names or workbench.has_said(prompt, names):
        return False
    pending, asked = f"strip_pending {key}", (prompt, names)
    first = session.state().get(pending) != asked
    session.state()[pending] = asked
    return first and workbench.has_said(prompt, ())


def _choose(key: str, workbench: Workbench, off: Toggles) -> int | OwnText:
    examples = workbench.prompts.examples
    order = st.radio("Order", _ORDERS, key=f"prompt_order {key}")
    try:
        places = _ordered(order, workbench, off)
    except Exception as error:  # told beside the figures too, which then are not there either
        st.warning(error_text(error))
        places = list(range(len(examples)))
    # Of a new order the first prompt is shown, not the one that was chosen in another.
    list_key = f"prompt_shown {key} {order} {places is not None} {hash(off.names) if order == _ORDERS[2] else ''}"
    if order == _ORDERS[2] and not off:
        st.caption("Nothing is switched off yet: the hardest come first.")
    if places is None:
        st.caption(":material/hourglass_top: All prompts are being run for that; until then as listed.")
        look_again(_LOOK_AGAIN, f"order {key}")
        places = list(range(len(examples)))
    place = st.selectbox(
        "Prompt",
        [*places[:_LISTED], _OWN],
        format_func=lambda i: "Your own text" if i == _OWN else examples[i].prompt,
        key=list_key,
        help="Type a part of it to search.",
    )
    if place != _OWN:
        return place
    text = st.text_input("Your own text", key=f"own_text {key}", placeholder=examples[0].prompt)
    left, right = st.columns(2)
    good = left.text_input("Right answer", key=f"own_right {key}", placeholder=examples[0].correct[0].strip())
    bad = right.text_input("Wrong answer", key=f"own_wrong {key}", placeholder=examples[0].wrong[0].strip())
    if not (text.strip() and good.strip() and bad.strip()):
        st.caption("Give the text and both answers, then press Enter.")
        return 0
    return OwnText(text, good, bad)


def _ordered(order: str, workbench: Workbench, off: Toggles) -> list[int] | None:
    """Places of prompts in this order; None while that is being found out."""
    if order == _ORDERS[0]:
        return list(range(len(workbench.prompts)))
    before = _on_all(workbench, frozenset(), "circuit")
    if order == _ORDERS[1] or before is None or not off:
        return None if before is None else _ascending(before.logit_diff)
    after = _on_all(workbench, off.names, "edit")
    return None if after is None else _ascending(-abs(before.logit_diff - after.logit_diff))


def _on_all(workbench: Workbench, names: frozenset[str], what: str) -> Outcome | None:
    """What the circuit without these does on all prompts, once it is known; beside what the figures wait for."""
    wanted = workbench.refiner.ask(f"{session.visitor()} {what}", names)
    if wanted.error is not None:
        raise wanted.error
    return wanted.outcome if wanted.settled else None


def _ascending(values: NDArray[Any]) -> list[int]:
    return np.argsort(values, kind="stable").tolist()
