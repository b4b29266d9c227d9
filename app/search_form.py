"""The form of Discover: from the registries and the settings' metadata to a run's settings."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import streamlit as st

from app.forms import form
from app.run_panel import MASKS
from discogp.discovery import PRESETS, SearchConfig, config_from_dict, config_to_dict, preset
from discogp.errors import DiscoGPError, ModelError, TaskError
from discogp.models.registry import find, list_models
from discogp.runs import RunSettings
from discogp.tasks import SplitSizes, Task, get_task, list_tasks

_KEEP = "session"  # what is chosen here outlives a visit to another page
_PRESET_HELP = {
    "quick": "A first look: fewest steps.",
    "balanced": "Good circuits in reasonable time.",
    "thorough": "More steps, sparser circuits.",
    "paper": "The settings of the paper as they stand, for comparison. They fail on deep models.",
}


def show() -> RunSettings | None:
    """Draw the form; None (with the reason on the page) while something in it cannot be used."""
    model = _model()
    task = _task()
    mask = st.segmented_control(
        "What to mask", list(MASKS), default="edges", required=True, format_func=lambda m: MASKS[m].capitalize(),
        key="search_mask", persist_state=_KEEP,
        help="Edges between components, single weights, or first weights and then, with those held, edges.",
    )  # fmt: skip
    name = st.segmented_control(
        "Preset", list(PRESETS), default="quick" if "quick" in PRESETS else PRESETS[0], required=True,
        format_func=str.capitalize, key="search_preset", persist_state=_KEEP,
        help="\n\n".join(f"**{p.capitalize()}**: {_PRESET_HELP[p]}" for p in PRESETS if p in _PRESET_HELP),
    )  # fmt: skip
    seed = st.number_input(
        "Seed", min_value=0, max_value=2**31 - 1, value=0, step=1, key="search_seed", persist_state=_KEEP,
        help="The same seed and settings give the same circuit. Another seed may give another circuit.",
    )  # fmt: skip
    if model is None or task is None:
        return None
    try:
        start = replace(_preset(name, mask, model), seed=int(seed))
        with st.expander("All settings", icon=":material/tune:"):
            sizes, only_known = _data()
            config = form(start, f"search {model} {mask} {name}", skip={"mask", "seed"}, columns=2)
    except DiscoGPError as error:
        st.error(str(error))
        return None
    return RunSettings(
        model=model,
        task=task.name,
        config=config_to_dict(config),
        task_options=_options(task),
        sizes=asdict(sizes),
        only_known=only_known,
    )


def check(settings: RunSettings) -> None:
    """What can be told wrong before a process is started; DiscoGPError says what."""
    config_from_dict(dict(settings.config))
    get_task(settings.task, **settings.task_options)
    known = find(settings.model)
    if known is not None and not known.available():
        raise ModelError(f"{known.title} is not on this machine. {known.how_to_get()}")


def _model() -> str | None:
    known = {model.name: model for model in list_models()}

    def label(name: str) -> str:
        if name not in known:
            return name
        return known[name].title if known[name].available() else f"{known[name].title} (not on this machine)"

    chosen = st.selectbox(
        "Model", list(known), format_func=label, accept_new_options=True, key="search_model", persist_state=_KEEP,
        help="Choose one, or type a Hugging Face name or the path of a model folder (GPT-2 and Llama families).",
    )  # fmt: skip
    if not chosen or not chosen.strip():
        st.error("Choose a model, or type a name or a folder.")
        return None
    if chosen in known and not known[chosen].available():
        st.info(known[chosen].how_to_get())
    return chosen.strip()


def _task() -> Task | None:
    tasks = {task.name: task for task in list_tasks()}
    name = st.selectbox(
        "Task", list(tasks), index=list(tasks).index("ioi") if "ioi" in tasks else 0,
        format_func=lambda n: tasks[n].title, key="search_task", persist_state=_KEEP,
    )  # fmt: skip
    task: Any = tasks[name]
    st.caption(task.description)
    if "path" not in {item.name for item in fields(task)}:
        return task
    path = st.text_input(
        "BLiMP file (optional)", key="search_blimp", persist_state=_KEEP, placeholder="anaphor_number_agreement.jsonl",
        help="Path of a file in BLiMP's JSON-lines format on this machine, to use instead of the built-in sentences.",
    )  # fmt: skip
    if not path.strip():
        return task
    try:
        file = Path(path.strip()).expanduser()
        if not file.is_file():
            raise TaskError(
                f"there is no file {path.strip()!r}; give the path of a .jsonl file, or leave the field empty"
            )
        return get_task(name, path=str(file.resolve()))
    except DiscoGPError as error:
        st.error(str(error))
        return None


def _options(task: Any) -> dict[str, Any]:
    """The task's options that are not at their default."""
    return {item.name: value for item in fields(task) if item.init and (value := getattr(task, item.name)) is not None}


def _data() -> tuple[SplitSizes, bool]:
    st.markdown("**Prompts**")
    usual = SplitSizes()
    cells = st.columns(3)
    given = {}
    for cell, (name, size) in zip(cells, usual.items(), strict=True):
        key = f"search_{name}"
        given[name] = cell.number_input(
            name.capitalize(), min_value=8, max_value=4096, value=size, step=16, key=key, persist_state=_KEEP
        )
    only_known = st.toggle(
        "Only prompts that the full model gets right", value=True, key="search_known", persist_state=_KEEP,
        help="A circuit can only explain what the model does. The share kept is stated in the result.",
    )  # fmt: skip
    return SplitSizes(**given), only_known


def _preset(name: str, mask: Any, model: str) -> SearchConfig:
    return preset(name, mask, model)
