"""The form of Discover: from the registries and the settings' metadata to a run's settings."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import streamlit as st

from app.discover.forms import form
from app.discover.run_panel import MASKS
from app.tasks.gallery import BOS_HELP, EXACT_HELP
from app.text import plain
from discogp.circuits.graph import ComputationGraph
from discogp.errors import DiscoGPError, ModelError, TaskError
from discogp.methods.base import METHODS, Method, get_method
from discogp.methods.settings import settings_to_dict
from discogp.models.claims import claimed_shape
from discogp.models.locate import checked_name, locate
from discogp.models.plain_json import read_object
from discogp.models.registry import find, list_models
from discogp.paths import user_path
from discogp.runs import RunSettings
from discogp.tasks import SplitSizes, Task, get_task, list_tasks, option_names, task_options
from discogp.tasks.base import FEW, SMALLEST_SPLIT
from discogp.terms import ABLATIONS, Ablation, Bos, Searched

_KEEP = "session"  # what is chosen here outlives a visit to another page
# Where a task's own prompts are read from, by the option that says so: label, help, whether it may be left out.
_DATA = {
    "path": (
        "BLiMP file (optional)",
        "A file in BLiMP's JSON-lines format, to use instead of the built-in text.",
        True,
    ),
    "data": ("Published data", "The file of this task's published data, or a folder that has it.", False),
    "file": ("Your prompts", "A CSV or JSON file with the columns prompt (or messages), correct and wrong.", False),
}


def show() -> RunSettings | None:
    """Draw the form; None (with the reason on the page) while something in it cannot be used."""
    model = _model()
    task = _task()
    method = _method()
    mask: Searched = st.segmented_control(  # type: ignore[assignment]  # one of the method's
        "What to mask", list(method.masks), default="edges", required=True, format_func=lambda m: MASKS[m].capitalize(),
        key=f"search_mask {method.name}", persist_state=_KEEP,
        help="Edges between components, single weights, or first weights and then, with those held, edges.",
    )  # fmt: skip
    ablation: Ablation = st.segmented_control(  # type: ignore[assignment]  # one of the method's
        "Ablation", list(method.ablations), required=True,
        default="zero" if "zero" in method.ablations else method.ablations[0],
        format_func=str.capitalize, key=f"search_ablation {method.name}", persist_state=_KEEP,
        help="What flows along an edge that is cut.",
    )  # fmt: skip
    st.caption(ABLATIONS[ablation])
    name = st.segmented_control(
        "Preset", list(method.presets), default=next(iter(method.presets)), required=True,
        format_func=str.capitalize, key=f"search_preset {method.name}", persist_state=_KEEP,
        help="\n\n".join(f"**{name.capitalize()}**: {sentence}" for name, sentence in method.presets.items()),
    )  # fmt: skip
    seed = st.number_input(
        "Seed", min_value=0, max_value=2**31 - 1, value=0, step=1, key="search_seed", persist_state=_KEEP,
        help="The same seed and settings give the same circuit. Another seed may give another circuit.",
    )  # fmt: skip
    if model is None or task is None:
        return None
    try:
        n_edges = count_edges(model)
        if n_edges is None:
            st.caption("This model's size is known only once it is loaded; the settings are those for small models.")
        start = replace(method.preset(name, mask, n_edges or 0, seed=int(seed)), ablation=ablation)
        with st.expander("All settings", icon=":material/tune:"):
            prompts = _data()
            config = form(
                start,
                f"search {method.name} {mask} {name} {n_edges}",
                skip={"mask", "seed", "ablation", *method.unused(mask)},
                columns=2,
            )
    except DiscoGPError as error:
        st.error(plain(str(error)))
        return None
    return RunSettings(
        model=model,
        task=task.name,
        config=settings_to_dict(config),
        task_options=task_options(task),
        method=method.name,
        **prompts,
    )


def check(settings: RunSettings) -> None:
    """What can be told wrong before a process is started; DiscoGPError says what."""
    get_method(settings.method).settings_from(settings.config)
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
        help="Choose one, or type a Hugging Face name or the path of a model folder (families: see Models).",
    )  # fmt: skip
    if not chosen or not chosen.strip():
        st.error("Choose a model, or type a name or a folder.")
        return None
    if chosen in known and not known[chosen].available():
        st.info(known[chosen].how_to_get())
    try:
        if chosen not in known:
            locate(checked_name(chosen), None)
    except ModelError as error:
        st.error(plain(str(error)))
        return None
    return chosen.strip()


def _method() -> Method:
    """A choice only where there is one to make: DiscoGP is what most come for."""
    name = st.selectbox(
        "Method", list(METHODS), index=list(METHODS).index("discogp"), format_func=lambda name: METHODS[name].title,
        key="search_method", persist_state=_KEEP,
        help="\n\n".join(f"**{m.title}** ({m.source}): {m.summary}" for m in METHODS.values()),
    )  # fmt: skip
    return get_method(name)


def _task() -> Task | None:
    tasks = {task.name: task for task in list_tasks()}
    name = st.selectbox(
        "Task", list(tasks), index=list(tasks).index("ioi") if "ioi" in tasks else 0,
        format_func=lambda n: tasks[n].title, key="search_task", persist_state=_KEEP,
    )  # fmt: skip
    task: Any = tasks[name]
    st.caption(task.description)
    option = next((known for known in _DATA if known in option_names(name)), None)
    if option is None:
        return task
    label, help_text, optional = _DATA[option]
    path = st.text_input(label, key=f"search_{option}", persist_state=_KEEP, help=help_text).strip()
    if not path and optional:
        return task
    try:
        place = user_path(path)
        if not path or not (place.is_file() or (option == "data" and place.is_dir())):
            raise TaskError(f"there is no file {path!r}; give the path of one on this machine" if path else help_text)
        options: dict[str, Any] = {option: str(place.resolve())}
        if "exact" in option_names(name) and st.toggle(
            "Exact white space", key="search_exact", persist_state=_KEEP, help=EXACT_HELP
        ):
            options["exact"] = True
        return get_task(name, **options)
    except DiscoGPError as error:
        st.error(plain(str(error)))
        return None


def _data() -> dict[str, Any]:
    """How many prompts, which, and how they are opened: the settings of a run by name."""
    st.markdown("**Prompts**")
    usual = SplitSizes()
    cells = st.columns(3)
    given = {}
    for cell, (name, size) in zip(cells, usual.items(), strict=True):
        key = f"search_{name}"
        given[name] = cell.number_input(
            name.capitalize(), min_value=8, max_value=4096, value=size, step=16, key=key, persist_state=_KEEP
        )
    bos = st.segmented_control(
        "Opening token", get_args(Bos), default="auto", required=True, key="search_bos", persist_state=_KEEP,
        help=BOS_HELP,
    )  # fmt: skip
    only_known = st.toggle(
        "Only prompts that the full model gets right", value=True, key="search_known", persist_state=_KEEP,
        help="A circuit can only explain what the model does. The share kept is stated in the result.",
    )  # fmt: skip
    few = st.toggle(
        "Few prompts will do", key="search_few", persist_state=_KEEP,
        help=f"Search even where fewer than {FEW} prompts can be used, or fewer than {SMALLEST_SPLIT} in a split: "
        "figures on so few mean little.",
    )  # fmt: skip
    bos_setting = None if bos == "auto" else bos
    return {"sizes": asdict(SplitSizes(**given)), "only_known": only_known, "few_prompts": few, "bos": bos_setting}


def count_edges(model: str) -> int | None:
    """Edges of a model's graph, from its config alone; None where that is not on this machine."""
    known = find(model)
    place = known.location() if known is not None else model
    try:
        folder = user_path(place)
        file = folder / "config.json" if folder.is_dir() else _hub_config(str(place))
        shape = claimed_shape(read_object(Path(file), model)) if file else None
    except DiscoGPError:  # loading tells what is wrong with it
        return None
    return None if shape is None else ComputationGraph(*shape).n_edges


def _hub_config(name: str) -> str | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:  # a path that is no folder
        return None
    return found if isinstance(found, str) else None
