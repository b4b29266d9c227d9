"""Every command in a code block of the README, and its notebook, run in a short form.

A command is looked up in SHORT by the words that choose it; one that is not there fails, so that a new command in the
README needs a line here. What a command reads (`circuits/ioi`) is made first by the README's command that writes it.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import discogp
from discogp.cli import _parser, main
from discogp.models.registry import get_model
from tests.benchmarks import searches
from tests.places import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOTEBOOKS = [text for language, text in BLOCK.findall(README) if language == "python"]
LINES = [
    line.partition("#")[0].strip()
    for language, text in BLOCK.findall(README)
    if language != "python"
    for line in text.splitlines()
    if line.strip()
]

# Edges begin far below zero, so that two steps end with a small circuit; taking a large one apart would take minutes.
FEW_STEPS = (
    "--set edges.steps=2 --set edges.polish=0 --set edges.initial_logit=-4 --set weights.steps=2 --set evaluations=1"
)
FEW_PROMPTS = "--train 32 --validation 16 --test 16"
# The words that choose a command -> what makes it short. Later options win over those that stand in the README.
SHORT = {
    "discogp models list": "",
    "discogp models get": "",
    "discogp models check": "",
    "discogp tasks list": "",
    "discogp methods list": "",
    "discogp tasks check": "--limit 16",
    "discogp discover": f"{FEW_PROMPTS} {FEW_STEPS}",
    "discogp discover --model mini --task ioi --method random": FEW_PROMPTS,
    "discogp evaluate": "",
    "discogp minimality": "",
    "discogp export": "",
    "discogp import": FEW_PROMPTS,
    "discogp sparsity": "",
    "discogp bench step": "--shape small --repeats 1 --batch 2",
    "tests.benchmarks.searches": f"{FEW_PROMPTS} {FEW_STEPS}",
    "torchrun discogp discover": f"{FEW_PROMPTS} {FEW_STEPS}",
    "make app": "--dry-run",
    "make test": "--dry-run",
}


def chosen(line: str) -> str:
    """The key of SHORT that a line is looked up by: the longest that its words begin with."""
    words = shlex.split(line)
    if words[0] == "torchrun":
        words = ["torchrun", *words[words.index("-m") + 1 :]]
    elif words[:2] == ["python", "-m"]:
        words = words[2:]
    return max((key for key in SHORT if words[: len(key.split())] == key.split()), key=len, default="")


def written_by(line: str) -> str | None:
    words = shlex.split(line)
    return words[words.index("--out") + 1] if "--out" in words else None


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that commands run in, one after the other, and what they have left there."""
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(autouse=True)
def _in_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    # Processes that a command starts find the library from this folder too.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def run(line: str) -> None:
    key = chosen(line)
    words = shlex.split(line)
    for earlier in LINES[: LINES.index(line)]:
        made = written_by(earlier)
        if made in words and made != written_by(line) and not Path(str(made)).exists():
            run(earlier)
    words = [str(ROOT / word) if word.startswith("assets/") else word for word in words] + SHORT[key].split()
    if words[0] == "make":
        subprocess.run([*words, "-C", str(ROOT)], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    elif words[0] == "torchrun":
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        subprocess.run([*torchrun, *words[1:]], check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=300)
    elif words[2] == "discogp":
        assert main(words[3:]) == 0
    else:
        _run_searches(words[3:])


def _run_searches(words: list[str]) -> None:
    """One task where the README asks for every one; what is short goes to each `discover`."""
    split = words.index("--") if "--" in words else len(words) - len(SHORT["tests.benchmarks.searches"].split())
    own, more = words[:split], [word for word in words[split:] if word != "--"]
    if "--task" not in own:
        own += ["--task", "capitals"]
    assert searches.main([*own, "--", *more]) == 0


@pytest.mark.parametrize("line", LINES)
def test_a_command_of_the_readme_does_what_it_says(line: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert chosen(line), f"`{line}` has no short form in SHORT"
    if chosen(line) == "discogp models get":
        name = shlex.split(line)[-1]
        assert _parser().parse_args(["models", "get", name]).name == name
        if not get_model(name).available():
            pytest.skip(f"{name} is not on this machine, and getting it needs a network")
    run(line)
    made = written_by(line)
    assert made is None or "--dry-run" in line or Path(made).exists()
    assert "Traceback" not in capfd.readouterr().err


def test_every_short_form_is_of_a_command_in_the_readme() -> None:
    assert {chosen(line) for line in LINES} == set(SHORT)


@pytest.mark.parametrize("source", NOTEBOOKS)
def test_the_notebook_runs(source: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(name: str, *more: Any) -> Any:
        config = preset(name, *more)
        return replace(config, evaluations=1, edges=replace(config.edges, steps=2, polish=0, initial_logit=-4.0))

    preset, prepare, sizes = discogp.preset, discogp.prepare, discogp.SplitSizes(32, 16, 16)
    monkeypatch.setattr(discogp, "preset", short, raising=False)
    monkeypatch.setattr(discogp, "prepare", lambda model, task: prepare(model, task, sizes), raising=False)
    shutil.rmtree(place / "circuits" / "ioi", ignore_errors=True)
    names: dict[str, Any] = {}
    exec(compile(source, "README.md", "exec"), names)
    assert discogp.load_circuit(place / "circuits" / "ioi").n_edges == names["circuit"].n_edges


def inline_commands() -> list[str]:
    """Commands in running text and tables, such as `bench step --shape small`, without those that have a `…`."""
    groups = next(a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    spans = [span for text in BLOCK.sub("", README).splitlines() for span in re.findall(r"`([^`]+)`", text)]
    return sorted({span for span in spans if span.split()[0] in groups and len(span.split()) > 1 and "…" not in span})


@pytest.mark.parametrize("line", inline_commands())
def test_a_command_in_the_text_is_understood(line: str) -> None:
    words = line.split()
    if words[0] == "discover":
        words = ["discover", "--model", "mini", "--task", "ioi", *words[1:]]
    if words == ["models", "get"]:
        words.append("mini")
    _parser().parse_args(words)
