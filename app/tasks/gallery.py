"""The cards of the Tasks page: what a task asks, and what the chosen model makes of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any, get_args

import streamlit as st

from app import session
from app.tables import show
from app.text import error_text, plain
from discogp import paths
from discogp.errors import TaskError
from discogp.models.registry import list_models
from discogp.tasks import Example, SplitSizes, Task, get_task, list_tasks, option_names
from discogp.tasks.from_files.lines import MOST_BYTES
from discogp.terms import Bos

if TYPE_CHECKING:
    from discogp.prompts.task_check import TaskCheck

BOS_HELP = (
    "The token that opens a text, such as <|endoftext|>: auto puts it where the model expects one, always before every "
    "prompt, never before none. A prompt that begins with it gets no second one."
)
EXACT_HELP = "Add and move no white space between prompts and answers, whatever the file's rows say."
PUBLISHED = {"blimp": "BLiMP", "pararel": "PARAREL", "lre": "LRE", "mib": "MIB"}
_SHOWN_ANSWERS = 4
_SHOWN_PROMPTS = 5
_LONGEST_NAME = 100
_LARGEST_UPLOAD = MOST_BYTES


def model() -> str | None:
    """Whose accuracies are asked for: a model that is on this machine."""
    here = {known.name: known.title for known in list_models() if known.available()}
    return st.selectbox(
        "Model", list(here), format_func=lambda name: here[name], key="tasks_model", persist_state="session"
    )


def built_in() -> list[Task]:
    return [task for task in list_tasks() if task.name != "custom" and family(task.name) not in PUBLISHED]


def family(name: str) -> str:
    return name.partition("/")[0]


def card(task: Task, model_name: str | None, options: Mapping[str, Any] | None = None) -> None:
    """One task: what it asks, an example, the model's figures or the button that computes them."""
    with st.container(border=True):
        st.html(f'<div class="dg-task"><b>{escape(task.title)}</b><code>{escape(task.name)}</code></div>')
        st.markdown(plain(task.description))
        sample = _example(task.name) if options is None else None
        if sample is not None:
            example, held_out = sample
            st.html(_prompt(example.prompt, example.correct, example.wrong))
            st.caption(plain(f"{held_out} Source: {task.source}."))
        else:
            st.caption(plain(f"Source: {task.source}."))
        if model_name is not None:
            figures(model_name, task.name, dict(options or {}))


def figures(model_name: str, task: str, options: Mapping[str, Any]) -> None:
    """What a check gave; the button that asks for it; or that it is under way."""
    check = session.loader().known_check(model_name, task, options)
    if check is None:
        key = f"check {model_name} {task}"
        if st.button(f"How well does {model_name} do it?", icon=":material/speed:", key=key):
            session.loader().check(model_name, task, options)
            st.rerun()
    elif not check.done():
        st.caption(f":material/hourglass_top: {model_name} is reading the prompts.")
    else:
        _result(check)


def _result(check: Future[TaskCheck]) -> None:
    try:
        found = check.result()
    except Exception as error:
        st.warning(error_text(error))
        return
    cells = {
        "right": show(found.accuracy, True),
        "chance": show(found.chance, True),
        "top-1": "–" if found.top1 is None else show(found.top1, True),
        "logit diff.": show(found.logit_diff, False),
        "usable": f"{found.kept:,} of {found.items:,}",
    }
    body = "".join(f"<span><small>{name}</small>{escape(value)}</span>" for name, value in cells.items())
    st.html(f'<div class="dg-figures">{body}</div>')
    for reason, count in found.dropped.items():
        st.caption(plain(f"{count:,} left out: {reason}"))
    for message in found.notes:
        st.caption(f":material/info: {plain(message)}")


def preview(check: Future[TaskCheck]) -> None:
    """The first and last prompts as the model is asked them, token by token, with its verdict."""
    if not check.done() or check.exception() is not None:
        return
    found = check.result()
    rows = [row for row in found.prompts if "tokens" in row]
    if not rows:
        return
    st.caption(
        "As the model is asked, token by token (· is a space, ⏎ a line end, ⇥ a tab; opening token: "
        f"{found.bos}): the first and the last {min(len(rows), _SHOWN_PROMPTS)} of {found.scored:,}."
    )
    for row in rows:
        st.html(_asked(row))


def _asked(row: Mapping[str, Any]) -> str:
    """One prompt in its tokens, and its answers in theirs."""
    tokens = "".join(f"<i>{escape(token)}</i>" for token in row["tokens"])
    answers = "".join(
        _words(["".join(ids) for ids in row[f"{side}_tokens"]], len(row[side]), kind) for side, kind in _SIDES
    )
    mark = '<b class="dg-good">✓</b>' if row["right"] else '<b class="dg-bad">✗</b>'
    place = f"<small>{escape(row['where'])}</small>" if row["where"] else ""
    return f'<div class="dg-example dg-tokens">{mark}<span>{tokens}</span>{answers}{place}</div>'


_SIDES = (("correct", "dg-right"), ("wrong", "dg-wrong"))


def _words(answers: Sequence[str], total: int, kind: str) -> str:
    shown = "".join(f'<code class="{kind}">{escape(answer)}</code>' for answer in answers[:_SHOWN_ANSWERS])
    more = total - min(len(answers), _SHOWN_ANSWERS)
    return shown + (f"<small>and {more} more</small>" if more > 0 else "")


def _prompt(prompt: str, correct: tuple[str, ...], wrong: tuple[str, ...]) -> str:
    words = _words(correct, len(correct), "dg-right") + _words(wrong, len(wrong), "dg-wrong")
    return f'<div class="dg-example"><span>{escape(prompt)}</span>{words}</div>'


@lru_cache(maxsize=256)
def _example(name: str) -> tuple[Example, str] | None:
    """A test prompt of a generator and what its splits hold out; None for a task that needs data first."""
    try:
        splits = get_task(name).splits(SplitSizes(8, 8, 8), seed=0)
    except TaskError:
        return None
    return splits.test[0], splits.held_out


def reading() -> dict[str, Any]:
    """How a task file is to be read: the options of its task that are not at their default."""
    left, right = st.columns(2)
    bos = left.segmented_control(
        "Opening token", get_args(Bos), default="auto", required=True, key="tasks_bos", persist_state="session",
        help=BOS_HELP,
    )  # fmt: skip
    exact = right.toggle("Exact white space", key="tasks_exact", persist_state="session", help=EXACT_HELP)
    return ({} if bos == "auto" else {"bos": bos}) | ({"exact": True} if exact else {})


def keep_upload(name: str, content: bytes) -> str:
    """Write an uploaded task file into the home folder, where a search's own process can read it. Its path.

    A folder a content: another file of the same name never takes the place of one that a search was made with.
    TaskError for a file that is too large.
    """
    if len(content) > _LARGEST_UPLOAD:
        raise TaskError(f"the file has {len(content) / 1e6:,.0f} MB; at most {_LARGEST_UPLOAD / 1e6:,.0f} can be read")
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "prompts.csv"
    folder = paths.home() / "tasks" / hashlib.sha256(content).hexdigest()[:16]
    place = folder / safe[-_LONGEST_NAME:]
    if not place.is_file() or place.read_bytes() != content:
        folder.mkdir(parents=True, exist_ok=True)
        with paths.replaced_file(place) as temporary:
            temporary.write_bytes(content)
    return str(place)


def in_family(name: str) -> list[str]:
    return [task.name for task in list_tasks() if family(task.name) == name and "data" in option_names(task.name)]
