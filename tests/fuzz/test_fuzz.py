"""Some hundreds of the cases; `python -m tests.fuzz --cases 5000` runs more."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from discogp.circuits.artifact import load_circuit
from discogp.errors import DiscoGPError
from discogp.reading import sealed
from discogp.runs import RunStore
from tests.app.test_pages import page, ran, text
from tests.fuzz.mutate import mutated
from tests.fuzz.run import fuzz
from tests.fuzz.targets import EXAMPLES, a_run
from tests.places import ROOT

CASES = int(os.environ.get("DISCOGP_FUZZ", "60"))


@pytest.fixture(autouse=True)
def quiet():
    """Streamlit says at every call that no browser is there."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def test_every_case_is_refused_in_one_line_or_can_be_shown(tmp_path: Path) -> None:
    found = fuzz(tmp_path, CASES)
    assert not found.faults, json.dumps({fault: found.examples[fault] for fault in found.faults}, indent=1)
    assert found.cases >= 9 * CASES
    assert found.cases // 5 < found.refused < found.cases, "cases that are all refused, or none, test nothing"


def test_the_same_cases_again() -> None:
    document = json.loads((EXAMPLES / "mini-ioi-edges" / "circuit.json").read_text())
    texts = [[mutated(document, random.Random(seed)) for seed in range(50)] for _ in range(2)]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 45
    assert json.dumps(document) not in texts[0]


def test_with_checksums_every_case_is_refused(tmp_path: Path) -> None:
    """Whatever changes the content: an added space would not."""
    file = tmp_path / "circuit.json"
    document = json.loads((EXAMPLES / "mini-ioi-edges" / "circuit.json").read_text())
    del document["checksums"]
    document = sealed(document)
    chance, opened = random.Random(0), []
    for _ in range(CASES):
        content = mutated(document, chance)
        file.write_text(content)
        try:
            opened.append((load_circuit(file), content))
        except DiscoGPError:
            continue
    # Without its seal, it opens with a note.
    assert [content for circuit, content in opened if not circuit.notes and json.loads(content) != document] == []


def test_mutated_runs_are_listed_on_the_pages(home: Path) -> None:
    store, chance = RunStore(), random.Random(5)
    for number in range(40):
        folder = store.folder(a_run(store).id)
        name = chance.choice(("run.json", "progress.jsonl", "process.json"))
        lines = (folder / name).read_text().splitlines() if name == "progress.jsonl" else [(folder / name).read_text()]
        place = chance.randrange(len(lines))
        document = json.loads(lines[place])
        document.pop("sha256", None)
        lines[place] = mutated(document, chance)
        (folder / name).write_text("\n".join(lines) + "\n")
        folder.rename(store.root / f"mutated-{number}")
    shown = text(ran(page("runs").run())).replace("\\", "")
    assert shown.count("mini · ioi · weights then edges") > 10
    assert shown.count("Unreadable: ") > 5
    ran(page("discover").run())
    ran(page("explore").run())


def test_the_command_says_what_it_found() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--cases", "2"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split(" refused")[0].split(":")[0]) == (0, "18 cases")
