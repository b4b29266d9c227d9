"""Bring a circuit file along: one of this program's, or one of MIB, EAP-IG or ACDC, or a list of edges."""

from __future__ import annotations

from concurrent.futures import Future

import streamlit as st

from app import libraries, session
from app.explore.foreign_file import Taken, Wish
from app.text import error_text, plain
from discogp.circuits.circuit import Circuit
from discogp.circuits.foreign.reading import NeedsModelError, notes, undecided
from discogp.errors import DiscoGPError
from discogp.models.registry import list_models

_ONLY_LOOK = "none, only look at it"
_HELP = (
    "A circuit JSON, as Export makes it; a circuit of MIB or EAP-IG (JSON); a list of edges as text, CSV or JSON, "
    "in this program's names or ACDC's."
)


def open_menu() -> None:
    """A popover with a file uploader; a file that is no circuit is told there and changes nothing."""
    with st.popover("Open file", icon=":material/folder_open:"):
        file = st.file_uploader("Circuit file", help=_HELP)  # of any ending: the content tells, and the error why not
        if file is None:
            st.caption("The file stays on this machine, for this visit only.")
            return
        content = file.getvalue()
        key = session.upload_key(file.file_id, file.name, content)
        if key in session.uploads():
            return
        reading = session.loader().read(file.file_id, content, file.name)
        if not reading.done():
            st.caption(":material/hourglass_top: Reading the file.")
            _wait_for(reading)
            return
        try:
            circuit = reading.result()
        except NeedsModelError:
            circuit = None
        except DiscoGPError as error:
            st.error(plain(str(error)))
            return
        if circuit is not None and "imported_from" not in circuit.provenance:
            _open(key, circuit)
        _foreign(key, content, file.name, circuit)


def _open(key: str, circuit: Circuit) -> None:
    session.bring(key, circuit)
    st.rerun()


def _foreign(key: str, content: bytes, name: str, circuit: Circuit | None) -> None:
    """Ask which model and task a file of another program is of; then it is scored, and opened."""
    for text in notes(circuit) if circuit else ("a list of edges, of which the model has to be named",):
        st.caption(plain(text[0].upper() + text[1:]) + ".")
    model, task, n_edges = _asked(circuit)
    data = _data(task)
    if st.button("Import", key=f"import {key}", type="primary", disabled=model is None and circuit is None):
        options = {option: value for option, value in data.items() if value}
        session.state()[session.WISH] = None if model is None else Wish(content, name, model, task, options, n_edges)
        if model is None and circuit is not None:
            _open(key, circuit)
    wish = session.state().get(session.WISH)
    if wish is not None and wish.content == content:
        _outcome(key, session.loader().take(wish))


def _asked(circuit: Circuit | None) -> tuple[str | None, str | None, int | None]:
    """The model, the task and the number of edges that the visitor names; None for what is left open."""
    known = {model.name: model.title for model in list_models() if model.available()}
    model = st.selectbox(
        "Its model", [_ONLY_LOOK, *known], format_func=lambda name: known.get(name) or str(name), key="import_model",
        accept_new_options=True, help="Choose one, or type a Hugging Face name or the path of a model folder.",
    )  # fmt: skip
    if not model or model == _ONLY_LOOK:
        return None, None, None
    from discogp.tasks import list_tasks

    task = st.selectbox(
        "Task to score it on", [_ONLY_LOOK, *(task.name for task in list_tasks())], key="import_task",
        help="The circuit is scored on its test prompts, as one that was found here.",
    )  # fmt: skip
    why = None if circuit is None else undecided(circuit)
    n_edges = st.number_input(
        "Edges to keep", min_value=1, value=None, step=1, key="import_edges", placeholder="those that the file keeps",
        help="The strongest by score, for a file that has only scores.",
    )  # fmt: skip
    if why:
        st.caption(plain(why[0].upper() + why[1:]) + ".")
    return model.strip(), None if task == _ONLY_LOOK else task, None if n_edges is None else int(n_edges)


def _data(task: str | None) -> dict[str, str]:
    """Where the task's own prompts are, for one that is read from files."""
    from discogp.tasks import option_names

    names = () if task is None else option_names(task)
    option = next((name for name in ("data", "path", "file") if name in names), None)
    if option is None:
        return {}
    return {option: st.text_input("Its prompts or published data (a file or folder)", key="import_data").strip()}


def _outcome(key: str, taken: Future[Taken]) -> None:
    if not taken.done():
        st.caption(":material/hourglass_top: Loading the model and scoring the circuit.")
        _wait_for(taken)
        return
    try:
        found = taken.result()
    except Exception as error:
        st.error(error_text(error))
        return
    session.state()[session.WISH] = None
    session.allow(key)
    session.leave_notice(". ".join(text[0].upper() + text[1:] for text in found.notes))
    _open(key, found.circuit)


@st.fragment(run_every=0.4)
def _wait_for(circuit: Future[Taken] | Future[Circuit]) -> None:
    """Run the page again once the circuit is there."""
    if circuit.done():
        st.rerun()
    libraries.spare()
