"""Tasks: what can be searched for, and whether a model can do it."""

from __future__ import annotations

import streamlit as st

from app import queue_panel, session
from app.tasks import gallery
from app.text import plain
from discogp.errors import DiscoGPError
from discogp.tasks import get_task

PAGE = {"icon": ":material/quiz:", "place": 3}

session.entered("tasks")
st.title("Tasks")
st.caption("A circuit can only explain what the model does: look first whether it does the task.")
done = session.loader().checks_done()  # counted before anything is drawn, so that none ends unseen
model = gallery.model()
queue_panel.show()
own, *published, yours = st.tabs(["Built in", *gallery.PUBLISHED.values(), "Your own"])

with own:
    tasks = gallery.built_in()
    if model is not None and st.button("Check them all", icon=":material/playlist_add_check:"):
        for task in tasks:
            session.loader().check(model, task.name, {})
    columns = st.columns(2)
    for place, task in enumerate(tasks):
        with columns[place % 2]:
            gallery.card(task, model)

for tab, family in zip(published, gallery.PUBLISHED, strict=True):
    with tab:
        data = st.text_input(
            f"Folder with {gallery.PUBLISHED[family]}'s files",
            key=f"tasks_data_{family}",
            persist_state="session",
            placeholder=f"~/data/{family}",
            help="The published files, on this machine.",
        ).strip()
        names = gallery.in_family(family)
        name = st.selectbox(
            f"One of {len(names)}", names, format_func=lambda n: n.partition("/")[2], key=f"tasks_{family}"
        )
        options = {"data": data} if data else {}
        gallery.card(get_task(name, **options), model, options)

with yours:
    st.markdown(
        "A CSV or JSON file with the columns `prompt` (or `messages`, a chat), `correct` and `wrong`, and if you like "
        "`counterfactual`, `group` and `exact`; several answers with `|` between them in CSV, as a list in JSON. Files "
        "of EAP-IG, auto-circuit, MIB and pandas are read as they are."
    )
    file = st.file_uploader("Task file", type=["csv", "tsv", "txt", "jsonl", "ndjson", "json", "parquet"])
    chosen = gallery.reading()
    if file is not None and model is not None:
        try:
            options = {"file": gallery.keep_upload(file.name, file.getvalue()), **chosen}
            check = session.loader().check(model, "custom", options)
            if check.done():
                gallery.figures(model, "custom", options)
                if check.exception() is None and st.button("Find a circuit for it", icon=":material/search:"):
                    session.go_discover(model, options)
                gallery.preview(check)
            else:
                st.caption(f":material/hourglass_top: {plain(model)} is reading the prompts.")
        except (DiscoGPError, OSError) as error:
            st.error(plain(str(error)))


@st.fragment(run_every=0.5)
def wait() -> None:
    """Run the page again whenever a check has ended."""
    if session.loader().checks_done() != done:
        st.rerun()


if session.loader().checking() or session.loader().checks_done() != done:
    wait()
