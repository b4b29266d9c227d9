"""Whatever is written on the command line, and wherever its output goes: one clear line, never a traceback.

The commands and their options are taken from the parser, so that a new one is tried too.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from discogp import paths
from discogp.cli import main
from discogp.cli.output import OutputError, prepare_streams, say
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from tests.cli.test_help import COMMANDS
from tests.places import ROOT

EXAMPLE = paths.assets() / "examples" / "mini-ioi-edges"
GROUPS = {path for path, actions in COMMANDS.items() if any(isinstance(a, argparse._SubParsersAction) for a in actions)}
LEAVES = [path for path in COMMANDS if path not in GROUPS]
LONG = "x" * 10_000
NO_PATHS = ("~nosuchuser/x", "a\0b", LONG, "/" + "y/" * 5000, "", "  ", "~nosuchuser")
NO_INTEGERS = ("1" * 23, "-" + "1" * 23, "7" * 5000, "x", "", "1.5", "nan", "1e3", "0x10", "\udcff")
NO_NUMBERS = ("nan", "inf", "-inf", "1e999", "x", "", "7" * 5000, "\0")
NO_TEXTS = ("\0", f"{LONG}\0")
# Of options that are texts, what no text of that option can be.
NAMES = {
    "device": ("meta", "warp", "", "cuda:99", "cpu:-1", "\udcff", LONG, "cuda:99999999999999999999", "mps:0:0"),
    "model": ("~nosuchuser/x", "", " ", LONG, "a\nb", "\udcff", "/nowhere", "a b", "\u202e"),
    "task": ("nonsense", "", LONG, "\udcff", "blimp/../../x", "~nosuchuser/x"),
    "set": ("", "=", "x=1", LONG, "seed", "seed=", "seed=" + "1" * 23, "seed=" + "7" * 5000, "seed=-1", "seed=nan"),
    "format": ("nonsense", "", LONG, "\udcff"),
    "name": ("nonsense", "", LONG, "\udcff", "a\nb", "~nosuchuser/x"),
}
# Of a picture's export no model is asked; the option is read with --format hf only.
UNREAD = {("export", "model")}
NEGATIVE_IS_FINE: dict[tuple[str, ...], set[str]] = {("tasks", "check"): {"seed"}, ("import",): {"threshold"}}
VALID = {"model": "mini", "task": "ioi", "circuit": str(EXAMPLE), "format": "svg", "name": "mini"}


def options_of(path: tuple[str, ...]) -> list[argparse.Action]:
    return [action for action in COMMANDS[path] if action.dest != "help" and action.nargs != 0]


def hostile(path: tuple[str, ...], action: argparse.Action) -> Iterator[str]:
    if action.type is int:
        yield from NO_INTEGERS
        if action.dest not in NEGATIVE_IS_FINE.get(path, ()):
            yield from ("-1", "-9223372036854775807")
    elif action.type is float:
        yield from NO_NUMBERS
        if action.dest not in NEGATIVE_IS_FINE.get(path, ()):
            yield "-1"
    elif action.type is Path:
        yield from NO_PATHS
    else:
        yield from NO_TEXTS
        yield from ("nonsense", LONG) if action.choices else NAMES.get(action.dest, ())


def valid(path: tuple[str, ...], action: argparse.Action, work: Path) -> str:
    if action.dest == "out":
        return str(work / "out.svg")
    by_type = {int: "1", float: "1", Path: str(EXAMPLE / "circuit.json")}
    return VALID.get(action.dest) or by_type.get(action.type, "x")  # type: ignore[arg-type]


def needed(path: tuple[str, ...], action: argparse.Action) -> bool:
    """Options that are given when another one is tried: what must be, and where something is written."""
    return action.required or action.dest in ("out", "task")


def words(action: argparse.Action, value: str) -> list[str]:
    return [f"{action.option_strings[-1]}={value}"] if action.option_strings else [value]


TABLE = [(path, a.dest) for path in LEAVES for a in options_of(path) if (*path, a.dest) not in UNREAD]


@pytest.fixture(scope="module", autouse=True)
def mini_once() -> Iterator[None]:
    """Most refusals come before a model is loaded; where one comes after, the same one serves."""
    loaded: list[MaskedTransformer] = []

    def load(name: str, device: str = "cpu") -> MaskedTransformer:
        if name != "mini" or device != "cpu":
            return load_model(name, device)
        loaded.extend([] if loaded else [load_model(name)])
        return loaded[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("discogp.engine.masked_transformer.load_model", load)
        yield


@pytest.mark.parametrize(("path", "option"), TABLE, ids=lambda part: part if isinstance(part, str) else " ".join(part))
def test_hostile_values_are_refused_in_one_line(
    path: tuple[str, ...],
    option: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISCOGP_HOME", str(tmp_path / "home"))
    tried = next(action for action in options_of(path) if action.dest == option)
    given: list[str] = []
    for action in options_of(path):
        exclusive = {action.dest, option} == {"task", "task_file"}
        if action is not tried and needed(path, action) and not exclusive:
            given += words(action, valid(path, action, tmp_path))
    for value in hostile(path, tried):
        # A positional value that begins with a dash is an option to argparse, unless after "--".
        arguments = [*path, *given, *(["--"] if not tried.option_strings else []), *words(tried, value)]
        check(arguments, capsys)


def check(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = ended.code
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise AssertionError(f"{shortened(arguments)}: {error!r}") from error
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    said = f"{shortened(arguments)} -> {code}, {out[:200]!r}, {err[:500]!r}"
    assert code in (1, 2), said
    assert len(lines) == 1, said
    assert lines[0] == err.splitlines()[-1], said
    assert "Traceback" not in out + err, said
    assert len(lines[0]) < 1500, said
    assert time.monotonic() - began < 20, said


def shortened(arguments: list[str]) -> list[str]:
    return [word if len(word) < 80 else f"{word[:60]}…({len(word)})" for word in arguments]


@pytest.mark.parametrize("path", [path for path in LEAVES if path[0] == "bench"], ids=" ".join)
def test_a_benchmark_of_numbers_without_measure(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for option in ("--length=99999999", "--batch=99999999", "--repeats=99999999", "--length=1025", "--length=0"):
        check([*path, option], capsys)
    monkeypatch.setattr("discogp.speed.shapes.available_mb", lambda device: 1000.0)
    check([*path, "--batch=4096", "--length=1024"], capsys)


@pytest.mark.parametrize("arguments", [["nonsense"], [], ["bench"], ["tasks", "check"], ["export", "--what"], ["\0"]])
def test_wrong_usage_is_one_line_too(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    check(arguments, capsys)


# --- where the output goes


class Full(io.TextIOBase):
    """A stream on a disk without room."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_that_nobody_can_be_given(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", Full())
    assert main([*path, "--help"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: standard output took no more (No space left")
    assert len(err.splitlines()) == 1


def test_a_closed_output_is_told_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(OutputError, match="is closed"):
        prepare_streams()
    assert sys.stderr is not None


def test_a_stream_closed_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(OutputError, match="no more"):
        say("text")


def test_signs_that_an_encoding_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="ascii"))
    prepare_streams()
    say("“Δ” – 3 × 4… ≥ ² имя \udcff 🙂")
    assert content.getvalue().decode() == ('"d" - 3 x 4... >= ^2 \\u0438\\u043c\\u044f \\udcff \\U0001f642\n')


def test_only_one_module_writes_to_the_streams() -> None:
    for file in (ROOT / "discogp" / "cli").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert file.name == "output.py" or not any(word in text for word in ("print(", "sys.stdout", "sys.stderr"))


SHELL = {
    "closed": ("{} >&-", 1, "is closed"),
    "full": ("{} >/dev/full", 1, "No space left on device"),
    "full, errors too": ("{} >/dev/full 2>/dev/full", 1, ""),
    "both closed": ("{} >&- 2>&-", 1, ""),
    "errors closed": ("{} 2>&- >/dev/null", 0, ""),
    "reader gone": ("{} | true; exit ${{PIPESTATUS[0]}}", 1, "reader has gone"),
    "ascii": ("PYTHONIOENCODING=ascii {} >/dev/null", 0, ""),
    "no locale": ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {} >/dev/null", 0, ""),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("way", SHELL)
def test_outputs_of_a_shell(way: str) -> None:
    command = "tasks list"
    line, code, said = SHELL[way]
    # `true` may end before or after the first line; a sleep makes it before.
    python = f"{{ sleep 0.3; {sys.executable} -m discogp {command}; }}" if "PIPE" in line else None
    run = line.format(python or f"{sys.executable} -m discogp {command}")
    done = subprocess.run(
        ["bash", "-c", run], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == bool(said), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_home_folder_that_is_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DISCOGP_HOME", "~nosuchuser/discogp")
    check(["tasks", "check", "--model", "smollm2", "--task", "ioi"], capsys)


def test_an_empty_value_is_told_with_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--out", "--task-file"):
        with pytest.raises(SystemExit):
            main(["discover", "--model", "mini", option, ""])
        assert f"argument {option}: the path is empty" in capsys.readouterr().err
