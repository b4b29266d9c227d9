"""How prompts are read, by the command line: opening token, exact white space, and how few are too few."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from discogp.circuits.artifact import load_circuit
from discogp.cli import main
from discogp.tasks import Example, SplitSizes, get_task

SPLITS = get_task("ioi").splits(SplitSizes(20, 10, 20), 0)
STOCK: tuple[Example, ...] = (*SPLITS.train, *SPLITS.validation, *SPLITS.test)
QUICK = ("--preset", "quick", "--set", "edges.steps=4", "--set", "edges.polish=0")


def file(folder: Path, count: int) -> str:
    place = folder / f"{count}.jsonl"
    rows = [{"prompt": e.prompt, "correct": e.correct[0].strip(), "wrong": e.wrong[0].strip()} for e in STOCK[:count]]
    place.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(place)


def test_too_few_prompts_are_searched_only_when_that_was_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    search = ["discover", "--model", "mini", "--task-file", file(tmp_path, 16), *QUICK, "--out", str(out)]
    assert main(search) == 1
    told = capsys.readouterr().err
    assert re.search(r"custom has \d+ usable prompts", told)
    assert "--few-prompts" in told
    assert not out.exists()
    assert main([*search, "--dry-run"]) == 1
    assert main([*search, "--few-prompts"]) == 0
    assert load_circuit(out).provenance["split_sizes"] == {"train": 256, "validation": 128, "test": 256}


def test_opening_token_and_prompts_are_kept_with_the_circuit_and_other_prompts_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    task = ["--task-file", file(tmp_path, 50)]
    assert (
        main(["discover", "--model", "mini", *task, "--all-prompts", *QUICK, "--bos", "always", "--out", str(out)]) == 0
    )
    made = load_circuit(out).provenance
    assert made["bos"] == "always"
    assert set(made["prompts"]) == {"train", "validation", "test"}
    assert set(made["data_files"]) == {"50.jsonl"}
    capsys.readouterr()
    assert main(["evaluate", str(out)]) == 0
    assert "not those of the search" not in capsys.readouterr().err
    assert main(["evaluate", str(out), "--bos", "never"]) == 0
    assert "prompts are not those of the search (model, task or settings are others)" in capsys.readouterr().err
    assert main(["evaluate", str(out), "--task-file", file(tmp_path, 40)]) == 0
    assert "prompts are not those of the search (40.jsonl" in capsys.readouterr().err


def test_a_check_shows_the_tokens_and_what_was_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check = ["tasks", "check", "--model", "mini", "--task-file", file(tmp_path, 12)]
    assert main(check) == 0
    printed = capsys.readouterr()
    assert "a space was added before the answers in 12 of 12 rows" in printed.err
    assert "12 usable prompts are too few" in printed.err
    lines = [line for line in printed.out.splitlines() if line.startswith("line ")]
    assert len(lines) == 10
    assert f"→ ·{STOCK[0].correct[0].strip()} (not ·{STOCK[0].wrong[0].strip()})" in lines[0]
    assert "…" in printed.out.splitlines()
    assert main([*check, "--exact"]) == 0
    printed = capsys.readouterr()
    assert "a space was added" not in printed.err
    assert f"→ {STOCK[0].correct[0].strip()} (not " in printed.out


def test_words_about_a_file_without_one_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "check", "--model", "mini", "--task", "ioi", "--exact"]) == 1
    assert "--exact says how a --task-file is read" in capsys.readouterr().err
