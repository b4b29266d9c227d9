"""The cards of the Tasks page: what a task asks, and what the chosen model makes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import Future
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import session
from app.tables import show
from app.text import error_text, plain
from discogp import paths
from discogp.errors import TaskError
from discogp.models.registry import list_models
from discogp.tasks import Example, SplitSizes, Task, get_task, list_tasks, option_names

if TYPE_CHECKING:
    from discogp.prompts.task_check import TaskCheck

PUBLISHED = {"blimp": "BLiMP", "pararel": "PARAREL", "lre": "LRE"}
_SHOWN_ANSWERS = 4
_LARGEST_UPLOAD = 50_000_000


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
    """The first prompts with the model's verdict."""
    if check.done() and check.exception() is None:
        for row in check.result().prompts:
            if "prompt" in row:
                st.html(_prompt(row["prompt"], tuple(row["correct"]), tuple(row["wrong"]), row["right"]))


def _prompt(prompt: str, correct: tuple[str, ...], wrong: tuple[str, ...], right: bool | None = None) -> str:
    def words(answers: tuple[str, ...], kind: str) -> str:
        shown = "".join(f'<code class="{kind}">{escape(answer)}</code>' for answer in answers[:_SHOWN_ANSWERS])
        return shown + (f"<small>and {len(answers) - _SHOWN_ANSWERS} more</small>" if len(answers) > 4 else "")

    mark = "" if right is None else '<b class="dg-good">✓</b>' if right else '<b class="dg-bad">✗</b>'
    return (
        f'<div class="dg-example">{mark}<span>{escape(prompt)}</span>{words(correct, "dg-right")}'
        f"{words(wrong, 'dg-wrong')}</div>"
    )


@lru_cache(maxsize=256)
def _example(name: str) -> tuple[Example, str] | None:
    """A test prompt of a generator and what its splits hold out; None for a task that needs data first."""
    try:
        splits = get_task(name).splits(SplitSizes(8, 8, 8), seed=0)
    except TaskError:
        return None
    return splits.test[0], splits.held_out


def keep_upload(name: str, content: bytes) -> str:
    """Write an uploaded task file into the home folder, where a search's own process can read it. Its path.

    TaskError for a file that is too large.
    """
    if len(content) > _LARGEST_UPLOAD:
        raise TaskError(f"the file has {len(content) / 1e6:,.0f} MB; at most {_LARGEST_UPLOAD / 1e6:,.0f} can be read")
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "prompts.csv"
    folder = paths.home() / "tasks"
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / safe
    place.write_bytes(content)
    return str(place)


def in_family(name: str) -> list[str]:
    return [task.name for task in list_tasks() if family(task.name) == name and "data" in option_names(task.name)]
