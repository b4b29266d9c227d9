"""A new task, method, model family, measure, export format or page is one new file, and nothing else is touched.

Each example of `tests/additions` is laid into a copy of the checkout, where it is then used as a user would.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT

PLACES = {
    "task": "discogp/tasks/generated",
    "form": "discogp/tasks/from_files/forms",
    "method": "discogp/methods",
    "family": "discogp/models/families",
    "measure": "discogp/evaluation/further",
    "export_format": "discogp/export",
    "page": "app/views",
}
EXAMPLE = ROOT / "assets" / "examples" / "mini-ioi-edges"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for folder in ("discogp", "app"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    return tmp_path


def add(checkout: Path, what: str) -> None:
    shutil.copy(ROOT / "tests" / "additions" / f"{what}.py", checkout / PLACES[what] / f"example_{what}.py")


def run(checkout: Path, *command: str) -> str:
    done = subprocess.run([sys.executable, *command], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_used_here() -> None:
    examples = {path.stem for path in (ROOT / "tests" / "additions").glob("*.py")} - {"__init__"}
    assert examples == set(PLACES)


def test_a_task(checkout: Path) -> None:
    add(checkout, "task")
    assert "same_name" in run(checkout, "-m", "discogp", "tasks", "list")
    told = json.loads(
        run(checkout, "-m", "discogp", "tasks", "check", "--model", "mini", "--task", "same_name", "--json")
    )
    assert told["kept"] > 0


def test_a_form_of_task_files(checkout: Path) -> None:
    add(checkout, "form")
    file = checkout / "quiz.csv"
    row = "When John and Mary went to the store, Mary gave the drink to;John;Mary"
    file.write_text(f"Question;Answer;Distractor\n{row}\n", encoding="utf-8")
    told = json.loads(
        run(checkout, "-m", "discogp", "tasks", "check", "--model", "mini", "--task-file", str(file), "--json")
    )
    assert told["items"] == 1
    assert "a quiz: question → prompt" in told["notes"][0]


def test_a_method(checkout: Path) -> None:
    add(checkout, "method")
    assert "late_layers" in run(checkout, "-m", "discogp", "methods", "list")
    search = ("discover", "--model", "mini", "--task", "ioi", "--method", "late_layers", "--set", "layers=3")
    small = ("--train", "20", "--validation", "20", "--test", "20", "--out", "found", "--json")
    result = json.loads(run(checkout, "-m", "discogp", *search, *small))
    saved = json.loads((checkout / "found" / "circuit.json").read_text())["provenance"]
    assert (saved["method"], saved["config"]["layers"]) == ("late_layers", 3)
    assert 0 < result["edge_density"] < 1


def test_a_model_family(checkout: Path) -> None:
    add(checkout, "family")
    assert "RenamedLMHeadModel" in run(checkout, "-m", "discogp", "models", "list")
    code = """
import json, torch
from transformers import GPT2Config, GPT2LMHeadModel
from discogp.models.architectures import architecture_of, extract
config = GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=2, n_head=2)
row = architecture_of({"architectures": ["RenamedLMHeadModel"], "model_type": "renamed"}, "a model")
model = GPT2LMHeadModel(config).eval()
weights = extract(row, config, dict(model.named_parameters()))
from discogp.engine.plain import plain_forward
tokens = torch.tensor([[1, 2, 3]])
print(torch.allclose(plain_forward(weights, tokens), model(tokens).logits, atol=1e-5))
"""
    assert run(checkout, "-c", code).split() == ["True"]


def test_a_measure(checkout: Path) -> None:
    add(checkout, "measure")
    told = json.loads(run(checkout, "-m", "discogp", "evaluate", str(EXAMPLE), "--json"))
    assert told["full"]["probability"] > 0.9
    assert told["probability"] == told["circuit"]["probability"] > told["complement_probability"]
    assert "Probability" in run(checkout, "-m", "discogp", "evaluate", str(EXAMPLE))


def test_an_export_format(checkout: Path) -> None:
    add(checkout, "export_format")
    run(checkout, "-m", "discogp", "export", str(EXAMPLE), "--format", "txt", "--out", "edges.txt")
    names = (checkout / "edges.txt").read_text().splitlines()
    assert len(names) == json.loads((EXAMPLE / "circuit.json").read_text())["provenance"]["metrics"]["n_edges"]


def test_a_page(checkout: Path) -> None:
    add(checkout, "page")
    code = """
from streamlit.testing.v1 import AppTest
from app.pages import pages
print([page.title for page in pages()])
test = AppTest.from_file("app/main.py", default_timeout=60)
test.run()
test.switch_page("views/example_page.py").run()
print([title.value for title in test.title])
"""
    menu, shown = run(checkout, "-c", code).strip().splitlines()[-2:]
    assert menu == "['Explore', 'Discover', 'Runs', 'Tasks', 'Models', 'Guide', 'Lengths']"
    assert shown == "['Lengths']"
