"""Every page runs without an exception, and says plainly what is wrong."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from app import session
from app.explore.permalink import encode
from app.explore.toggles import Toggles
from app.loader import Loader
from discogp.circuits.artifact import save_circuit
from discogp.errors import ConfigError, ModelError
from discogp.methods.discogp.settings import config_to_dict, preset
from discogp.runs import RunSettings, RunStore
from discogp.terms import ABLATIONS
from tests.places import ROOT

APP = ROOT / "app"


def page(name: str) -> AppTest:
    return AppTest.from_file(str(APP / "views" / f"{name}.py"), default_timeout=60)


def ran(test: AppTest) -> AppTest:
    assert not test.exception, test.exception[0].value
    return test


def text(test: AppTest) -> str:
    """All that the page shows in words."""
    kinds = ("title", "markdown", "caption", "text", "warning", "error", "info", "success")
    return "\n".join(str(element.value) for kind in kinds for element in getattr(test, kind))


def html(test: AppTest) -> str:
    return "".join(element.proto.body for element in test.get("html"))


def settled(test: AppTest) -> AppTest:
    """Run again until the background loader has given its answer."""
    deadline = time.monotonic() + 60
    while "Loading the model" in text(test) and time.monotonic() < deadline:
        time.sleep(0.1)
        ran(test.run())
    return test


@pytest.fixture
def run(home):
    store = RunStore()
    config = config_to_dict(preset("quick"))
    made = store.create(RunSettings(model="mini", task="ioi", config=config))
    store.append_event(made.id, {"phase": "prepare", "message": "Loading mini", "elapsed": 0.1})
    step = {"phase": "edges", "step": 5, "total_steps": 100, "elapsed": 2.0, "eta": 38.0, "losses": {"sparsity": 0.5}}
    seen = {"accuracy": 0.9, "complement_accuracy": 0.5, "kl": 1.25}
    store.append_event(made.id, {**step, "densities": {"edges": 0.4}, "validation": seen, "best_step": 5})
    return store, made


@pytest.mark.parametrize("name", ["explore", "discover", "runs", "models", "guide"])
def test_every_page_runs(home, name):
    ran(page(name).run())


def test_the_saved_figures_are_shown_before_and_without_the_model(home):
    test = ran(page("explore").run())
    assert "87.5 %" in html(test)
    settled(test)
    assert "87.5 %" in html(test)
    assert "no-such-model" in text(test), "the page says why the model cannot be run"


@pytest.mark.parametrize("looks", [1, 2])
def test_a_model_that_is_there_while_the_page_is_drawn_is_not_missed(home, monkeypatch, looks):
    """However often the page has looked before: without another look, the saved figures would stay for good."""

    class Late(Future):
        seen = 0

        def done(self) -> bool:
            self.seen += 1
            return self.seen > looks

    late: Future = Late()
    late.set_exception(ModelError("it is there, and broken"))
    monkeypatch.setattr(Loader, "workbench", lambda *_: late)
    assert "it is there, and broken" in text(ran(page("explore").run()))


def test_no_circuit_at_all(home, monkeypatch, tmp_path):
    from discogp import paths

    monkeypatch.setattr(paths, "assets", lambda: tmp_path / "nothing")
    assert "no circuit to show" in text(ran(page("explore").run()))


def test_a_broken_example_is_told(home, tmp_path):
    (tmp_path / "assets" / "examples" / "mini-ioi-edges" / "masks.safetensors").write_bytes(b"\x10")
    assert "cannot be opened" in text(ran(page("explore").run()))


def test_a_link_switches_edges_off(home, example):
    test = page("explore")
    name = example.edges[0]
    test.query_params["off"] = encode(Toggles.of([name], ["m1"]), example.graph)
    ran(test.run())
    assert test.session_state["histories"]["example:mini-ioi-edges"].current == Toggles.of([name], ["m1"])


@pytest.mark.parametrize("link", ["x", "<script>alert(1)</script>", "A" * 20_000])
def test_a_hostile_link_is_told_and_ignored(home, link):
    test = page("explore")
    test.query_params["off"] = link
    assert "link" in ran(test.run()).warning[0].value
    assert not test.session_state["histories"]["example:mini-ioi-edges"].current


def test_a_link_to_a_circuit_that_is_not_here(home):
    test = page("explore")
    test.query_params["circuit"] = "run:../../etc"
    assert "not here" in ran(test.run()).warning[0].value


def test_a_finished_run_can_be_opened(home, run, example):
    store, made = run
    save_circuit(example, store.circuit_folder(made.id))
    store.finish(made.id, "done")
    test = page("explore")
    test.session_state[session.PICKED] = f"run:{made.id}"
    ran(test.run())
    assert test.selectbox[0].value == f"run:{made.id}"


def test_discover_offers_every_setting(home):
    test = ran(page("discover").run())
    labels = {widget.label for kind in ("number_input", "selectbox", "toggle") for widget in getattr(test, kind)}
    assert {"Model", "Task", "Seed", "Objective", "Batch size", "Steps", "Learning rate", "Train"} <= labels


@pytest.mark.parametrize("method", ["discogp", "random"])
def test_the_ablation_is_a_choice_with_a_sentence_and_goes_into_the_run(home, monkeypatch, method):
    from app.discover import search_form

    asked: list[RunSettings] = []
    monkeypatch.setattr(search_form, "check", lambda settings: asked.append(settings))
    monkeypatch.setattr("discogp.runs.start", lambda store, run: run)
    test = ran(page("discover").run())
    test.session_state["search_method"] = method
    ran(test.run())
    for ablation, sentence in ABLATIONS.items():
        test.session_state[f"search_ablation {method}"] = ablation
        ran(test.run())
        assert sentence in text(test)
        next(button for button in test.button if button.label == "Find circuit").click()
        ran(test.run())
        assert asked[-1].config["ablation"] == ablation
    assert len(asked) == len(ABLATIONS)


def test_the_same_search_twice_is_asked_about(home, monkeypatch):
    from app.discover import search_form

    monkeypatch.setattr(search_form, "check", lambda settings: None)
    monkeypatch.setattr("discogp.runs.start", lambda store, run: run)

    def button(test: AppTest) -> list[str]:
        return [found.label for found in test.button if found.label == "Find circuit"]

    test = ran(page("discover").run())
    assert "This very search" not in text(test)
    next(found for found in test.button if found.label == "Find circuit").click()
    ran(test.run())
    (made,) = RunStore().list()
    ran(test.run())
    assert "This very search is at work" in text(test)
    assert not button(test)
    next(box for box in test.checkbox if box.label == "Search again all the same").check()
    ran(test.run())
    assert button(test)
    next(field for field in test.number_input if field.label == "Seed").set_value(7)
    ran(test.run())
    assert "This very search" not in text(test)
    assert button(test)
    assert RunStore().list() == (made,)


def test_a_search_of_files_is_never_the_same(run):
    from app.discover.run_panel import same_search

    _, made = run
    assert same_search(made.settings, [made]) == made
    assert same_search(replace(made.settings, bos="never"), [made]) is None
    assert same_search(made.settings, [replace(made, state="cancelled")]) is None
    files = replace(made.settings, task="custom", task_options={"file": "/a.csv"})
    assert same_search(files, [replace(made, settings=files)]) is None, "the file may have changed since"


@pytest.mark.parametrize("name", ["/no/such/folder", "~/nowhere/at/all", "./x", "a/b/c", "/" + "x" * 5000, "/a\0b"])
def test_a_path_without_a_folder_is_told(home, monkeypatch, name):
    told = {"does not exist", "neither an existing folder", "too long or holds control characters"}
    test = ran(asked_for(monkeypatch, name))
    assert any(words in test.error[0].value for words in told)
    assert next(button for button in test.button if button.label == "Find circuit").disabled


def test_a_folder_and_a_name_of_the_hub_may_be_asked_for(home, monkeypatch, tmp_path):
    for name in (str(tmp_path), "~", ".", "openai-community/gpt2", "gpt2"):
        assert not ran(asked_for(monkeypatch, name)).error


def asked_for(monkeypatch: pytest.MonkeyPatch, model: str) -> AppTest:
    """Discover, where this was typed for a model; Streamlit's own test cannot type what is not among the options."""
    from app.discover import search_form

    choose = search_form.st.selectbox
    typed = {"Model": model}
    monkeypatch.setattr(
        search_form.st, "selectbox", lambda label, *args, **more: typed.get(label) or choose(label, *args, **more)
    )
    return page("discover").run()


def test_the_presets_set_the_fields(home):
    test = ran(page("discover").run())

    def steps() -> list[float]:
        return [widget.value for widget in test.number_input if widget.label == "Steps"]

    assert steps() == [preset("quick").edges.steps]
    test.session_state["search_preset discogp"] = "thorough"
    ran(test.run())
    assert steps() == [preset("thorough").edges.steps]
    test.session_state["search_mask discogp"] = "both"
    ran(test.run())
    assert len(steps()) == 2


def test_a_model_that_is_not_here_starts_nothing(home):
    test = ran(page("discover").run())
    next(button for button in test.button if button.label == "Find circuit").click()
    ran(test.run())
    assert "mini" in test.error[0].value.lower()
    assert RunStore().list() == ()


def test_before_a_search_begins_or_goes_on_circuits_give_back_what_they_keep(home, run, monkeypatch):
    from app.discover import run_panel, search_form

    store, made = run
    did: list[str] = []
    monkeypatch.setattr(Loader, "give_back", lambda self: did.append("given back"))
    monkeypatch.setattr(search_form, "check", lambda settings: None)
    monkeypatch.setattr("discogp.runs.start", lambda store, run: did.append("started") or run)
    monkeypatch.setattr(run_panel, "resume", lambda store, run_id: did.append("resumed"))
    test = ran(page("discover").run())
    next(button for button in test.button if button.label == "Find circuit").click()
    ran(test.run())
    assert did == ["given back", "started"]
    run_panel.continue_run(store, made.id)
    assert did[2:] == ["given back", "resumed"]


def test_a_blimp_file_that_is_none_is_told(home):
    test = ran(page("discover").run())
    test.session_state["search_task"] = "agreement/anaphor_number"
    ran(test.run())
    next(field for field in test.text_input if "BLiMP" in field.label).input("/no/such/file.jsonl")
    ran(test.run())
    assert "no file" in test.error[0].value


def test_a_running_search_is_found_again_after_a_refresh(home, run):
    test = ran(page("discover").run())
    assert "waiting" in text(test)
    assert any(button.label == "Cancel" for button in test.button)
    assert {metric.label: metric.value for metric in test.metric}["Accuracy"] == "90.0 %"


def test_cancel(home, run):
    store, made = run
    test = ran(page("discover").run())
    next(button for button in test.button if button.label == "Cancel").click()
    ran(test.run())
    assert store.read(made.id).state == "cancelled"


def test_a_failed_run_tells_why_in_plain_text(home, run):
    store, made = run
    store.finish(made.id, "failed", "no <b>such</b> *thing*")
    ran(test := page("discover").run())
    assert "such" in test.error[0].value
    ran(test := page("runs").run())
    assert "no <b>such</b> *thing*" in text(test)


def test_an_unreadable_run_is_listed(home, run):
    store, _ = run
    (store.root / "foreign").mkdir()
    shown = text(ran(page("runs").run()))
    assert "foreign" in shown
    assert "Unreadable" in shown


def test_of_many_runs_the_newest_are_shown_until_all_are_asked_for(home):
    store = RunStore()
    for _ in range(103):
        made = store.create(RunSettings(model="mini", task="ioi", config=config_to_dict(preset("quick"))))
        store.finish(made.id, "cancelled")
    test = ran(page("runs").run())

    def listed() -> int:
        return sum(button.label == "Progress" for button in test.button)

    assert listed() == 100
    test.toggle(key="all_runs").set_value(True)
    ran(test.run())
    assert listed() == 103


def test_work_in_the_queue_is_shown_and_cancelled(home, monkeypatch):
    """On a page where somebody waits: what runs, what waits, and a button for each."""
    import threading

    go, begun = threading.Event(), threading.Event()

    def long() -> None:
        begun.set()
        go.wait(60)

    jobs = session.loader().jobs
    monkeypatch.setattr(jobs, "_may_join", lambda job, running: False)
    first, second = jobs.submit("Checking *one*", long), jobs.submit("Checking two", long)
    try:
        assert begun.wait(60)
        test = ran(page("models").run())
        shown = text(test)
        assert "Checking \\*one\\*" in shown
        assert "Checking two" in shown
        assert "running for" in shown
        assert "waiting for its turn" in shown
        test.button(key=f"cancel_job_{second.number}").click()
        ran(test.run())
        assert second.state == "cancelled"
        assert "Checking two" not in text(test)
        assert first.state == "running"
    finally:
        go.set()


def test_a_file_from_elsewhere_loads_no_model_unasked(home, example):
    test = page("explore")
    test.session_state["uploads"] = {"file:x.json (1)": example}
    test.session_state[session.PICKED] = "file:x.json (1)"
    ran(test.run())
    assert "87.5 %" in html(test)
    button = next(button for button in test.button if button.label == "Load this model")
    button.click()
    settled(ran(test.run()))
    assert "cannot be run here" in text(test)


@pytest.mark.parametrize(("train", "asked"), [(256, False), (100_000, True)])
def test_a_file_that_asks_for_many_prompts_is_not_run_unasked(home, example, monkeypatch, train, asked):
    """Though its model is a known one and here."""
    from app.loader import Loader
    from discogp.models.registry import KnownModel

    monkeypatch.setattr(KnownModel, "available", lambda self: True)
    seen = []

    def make(_self, circuit):
        seen.append(circuit)
        raise ConfigError("nothing is computed in this test")

    monkeypatch.setattr(Loader, "_make", make)
    sizes = {"train": train, "validation": 128, "test": 256}
    provenance = {"model": "mini", "task": "ioi", "split_sizes": sizes}
    test = page("explore")
    test.session_state["uploads"] = {"file:x.json (1)": replace(example, provenance=provenance)}
    test.session_state[session.PICKED] = "file:x.json (1)"
    ran(test.run())
    labels = [button.label for button in test.button]
    assert ("Load this model" in labels) == asked
    assert asked == (not seen)
    assert ("100,384 prompts" in text(test)) == asked
