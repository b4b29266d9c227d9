"""One run as the page shows it: title, figures, and the part of Discover that follows it live."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from app import session
from app.discover import charts
from app.tables import share
from app.text import plain, sendable
from discogp.errors import ArtifactError
from discogp.methods.base import METHODS
from discogp.runs import Run, RunSettings, RunStore, cancel, launch, resume

MASKS = {"edges": "edges", "weights": "weights", "both": "weights then edges"}
BADGES = {
    "queued": ":gray-badge[:material/schedule: waiting]",
    "running": ":blue-badge[:material/sync: running]",
    "done": ":green-badge[:material/check: done]",
    "failed": ":red-badge[:material/error: failed]",
    "cancelled": ":gray-badge[:material/cancel: cancelled]",
}
# key, name, format, help; the first three are of the validation split, and of the test split at the end
_FIGURES = (
    ("accuracy", "Accuracy", "{:z.1%}", "How often the circuit ranks the right answer above the wrong one."),
    ("complement_accuracy", "Complement", "{:z.1%}", "The same of everything but the circuit. Near 50 % is best."),
    ("kl", "KL (nats)", "{:z.2f}", "Divergence from the full model's predictions over the whole vocabulary."),
    ("edges", "Edges kept", "{:z.2%}", "Share of the model's edges that the circuit keeps."),
    ("weights", "Weights kept", "{:z.2%}", "Share of the weights that the circuit keeps."),
)


def title(run: Run) -> str:
    mask = str(run.settings.config.get("mask", "?"))
    method = "" if run.settings.method == "discogp" else f" · {run.settings.method}"
    return sendable(f"{Path(run.settings.model).name} · {run.settings.task} · {MASKS.get(mask, mask)}{method}")


def subtitle(store: RunStore, run: Run) -> str:
    """When, with what seed, and the last figures known."""
    parts = [_when(run), f"seed {run.seed}"]
    events = store.events(run.id)
    test = latest(events, "test")
    if test:
        parts.append(f"test accuracy {_rate(test, 'accuracy')}, complement {_rate(test, 'complement_accuracy')}")
    elif figures := latest(events, "validation"):
        parts.append(f"validation accuracy {_rate(figures, 'accuracy')}")
    parts += [f"{share(value)} of {kind}" for kind, value in latest(events, "densities").items()]
    return " · ".join(parts)


def same_search(settings: RunSettings, runs: Sequence[Run]) -> Run | None:
    """The newest run with these very settings that is at work or done, whose circuit another would only find again.

    None where a task reads files, which may have changed since."""
    if settings.task_options:
        return None
    for run in runs:
        if (run.live or run.state == "done") and run.settings == settings:
            return run
    return None


def again(run: Run) -> bool:
    """Tell of an earlier run of the same search and ask whether it shall be made once more all the same."""
    with st.container(border=True):
        done = run.state == "done"
        st.caption(
            f"This very search {'was made' if done else 'is at work'} ({_when(run)}); "
            "the same settings and seed give the same circuit."
        )
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Show it", icon=":material/visibility:", key=f"same {run.id}"):
                session.state()[session.WATCHED] = run.id
            return st.checkbox("Search again all the same", key=f"again {run.id}")


def _when(run: Run) -> str:
    return run.created[:16].replace("T", " ") + " UTC"


def _rate(figures: Mapping[str, float], name: str) -> str:
    return f"{figures[name]:.1%}" if name in figures else "–"


def notes(store: RunStore, run: Run) -> tuple[str, ...]:
    """What there is to say of the run's files."""
    return (*run.notes, *store.log(run.id).notes)


def latest(events: Sequence[Mapping[str, Any]], group: str) -> dict[str, Any]:
    """The newest of each figure of a group: a search of edges no longer tells of the weights before it."""
    found: dict[str, Any] = {}
    for event in events:
        found |= {key: value for key, value in (event.get(group) or {}).items() if value is not None}
    return found


def clock(seconds: float | None) -> str:
    """`1:05`, `2:03:09`; a dash when unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def watch(run_id: str) -> None:
    """Progress of a run; looks again every second while it is live."""
    try:
        run = launch.refresh(session.store(), session.store().read(run_id))
    except (ArtifactError, OSError) as error:
        st.error(plain(str(error)))
        return
    st.fragment(_follow, run_every=1.0 if run.live else None)(run_id, run.live)


def _follow(run_id: str, was_live: bool) -> None:
    store = session.store()
    try:
        run = launch.refresh(store, store.read(run_id))
    except (ArtifactError, OSError) as error:
        st.info(plain(f"This run has been deleted, or cannot be read: {error}"))
        return
    if was_live and not run.live:
        st.rerun()  # the whole page, which then stops asking
    events = store.events(run_id)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(BADGES[run.state], width="content")
            st.markdown(f"**{plain(title(run))}**", width="stretch")
            if run.live and st.button("Cancel", icon=":material/stop_circle:", key="cancel_run"):
                cancel_run(store, run_id)
                st.rerun()
            if store.can_continue(run) and st.button("Continue", icon=":material/resume:", key="continue_run"):
                continue_run(store, run_id)
                st.rerun()
            if run.state == "done" and st.button(
                "Open in Explore", icon=":material/hub:", type="primary", key="open_in_explore"
            ):
                session.go_explore(f"run:{run_id}")
        for note in notes(store, run):
            st.caption(f":material/warning: {plain(note)}")
        _bar(run, events)
        _figures(events)
        if any(event.get("densities") for event in events):
            st.plotly_chart(charts.curves(events), key="curves", config={"displayModeBar": False})
            if st.toggle("Show the loss", key="show_loss"):
                st.plotly_chart(charts.losses(events), key="losses", config={"displayModeBar": False})


def cancel_run(store: RunStore, run_id: str) -> None:
    """Stop a run; what prevents it is left as a notice."""
    try:
        cancel(store, run_id)
    except (ArtifactError, OSError) as error:
        session.leave_notice(str(error))


def continue_run(store: RunStore, run_id: str) -> None:
    """Take an interrupted run up again; what prevents it is left as a notice."""
    session.loader().give_back()
    try:
        resume(store, run_id)
    except (ArtifactError, OSError) as error:
        session.leave_notice(str(error))


def _bar(run: Run, events: Sequence[Mapping[str, Any]]) -> None:
    event = events[-1] if events else {}
    step = next((e for e in reversed(events) if e.get("total_steps")), {})
    part = min(1.0, step["step"] / step["total_steps"]) if step else 0.0
    counted = f"step {step['step']:,} of {step['total_steps']:,}{_epoch(run, step, events)}" if step else ""
    if run.state == "queued":
        text = "Waiting for the run before it to end" if not events else "Starting"
        st.progress(0.0, text)
    elif run.state == "running":
        phase = event.get("message") or _phase(run, str(event.get("phase")))
        parts = [str(phase), counted, f"elapsed {clock(event.get('elapsed'))}"]
        if event.get("eta") is not None:
            parts.append(f"about {clock(event['eta'])} left")
        st.progress(part, " · ".join(plain(p) for p in parts if p))
    elif run.state == "done":
        st.progress(1.0, f"Finished · {counted} · best at step {step.get('best_step', '–')}")
    else:
        st.progress(part, f"{run.state.capitalize()} {'at ' + counted if counted else 'before the first step'}")
    if run.error:
        st.error(plain(run.error))


def _phase(run: Run, name: str) -> str:
    """What a phase is called; a method that is not here any more has no names to tell."""
    method = METHODS.get(run.settings.method)
    return {"done": "Search finished", **(method.phases if method else {})}.get(name, "Starting")


def _epoch(run: Run, step: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str:
    """How often every training prompt has been seen, in words; nothing while their number is not known."""
    prompts = latest(events, "data").get("train")
    batch = run.settings.config.get("batch_size")
    if not prompts or not batch:
        return ""
    per_epoch = max(1, prompts // batch)
    return f" (epoch {-(-step['step'] // per_epoch)} of {-(-step['total_steps'] // per_epoch)})"


def _figures(events: Sequence[Mapping[str, Any]]) -> None:
    test, densities = latest(events, "test"), latest(events, "densities")
    judged = test or latest(events, "validation")
    if not judged and not densities:
        return
    values = {**{key: judged.get(key) for key in ("accuracy", "complement_accuracy", "kl")}, **densities}
    for cell, (key, name, form, tip) in zip(st.columns(len(_FIGURES)), _FIGURES, strict=True):
        value = values.get(key)
        if value is None and key == "weights" and densities:
            value = 1.0  # a search of edges alone leaves every weight
        cell.metric(name, "–" if value is None else form.format(value).replace("%", " %"), help=tip)
    prompts = latest(events, "data")
    if test:
        st.caption(f"The circuit of the best step, on {prompts.get('test', 'the')} test prompts.")
    else:
        st.caption(f"The circuit so far, on {prompts.get('validation', 'the')} validation prompts.")
