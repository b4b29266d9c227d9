"""Where work will be written is looked at and held before the work: in the way, not writable, or another's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest
from filelock import FileLock, Timeout

from discogp.circuits.artifact import check_replaceable
from discogp.cli import main
from discogp.errors import ArtifactError
from discogp.paths import check_writable, claimed
from discogp.runs.places import places
from tests.places import ROOT

HOLD = """
import sys, time
from pathlib import Path
from discogp.paths import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds `tmp_path / "out"`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def no_model(*_: object, **__: object) -> None:
    raise AssertionError("the model was loaded before the place was looked at")


@pytest.fixture
def discover(monkeypatch: pytest.MonkeyPatch):
    """The command, which must come to no model."""
    from discogp.engine import masked_transformer

    monkeypatch.setattr(masked_transformer, "load_model", no_model)
    return lambda out: main(["discover", "--model", "mini", "--task", "ioi", "--out", out])


def test_a_second_search_is_told_at_once_and_the_first_goes_on(tmp_path, holder, discover, capsys):
    assert discover(str(tmp_path / "out")) == 1
    said = capsys.readouterr().err
    assert "another search is about to write" in said
    assert said.count("\n") == 1
    assert holder.poll() is None
    for other in (tmp_path / "." / "out", Path(os.path.relpath(tmp_path / "out"))):
        with pytest.raises(ArtifactError, match="another search"), claimed(other):
            pass
    with claimed(tmp_path / "out-last"):
        pass


def test_a_search_that_was_killed_holds_nothing(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / ".out.lock").exists()
    with claimed(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_one_process_holds_a_place_once(tmp_path):
    with claimed(tmp_path / "a", tmp_path / "b"):
        for name in ("a", "b"):
            with pytest.raises(ArtifactError, match="another search"), claimed(tmp_path / name):
                pass
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_the_page_and_a_search_of_the_command_line(tmp_path, monkeypatch):
    """The page's worker holds its folder by the same lock."""
    from discogp.runs import RunSettings, RunStore, worker

    store = RunStore(tmp_path / "runs")
    run = store.create(RunSettings("mini", "ioi", {"seed": 0}))
    seen = []

    def work(store: RunStore, run: object) -> None:
        with pytest.raises(ArtifactError, match="another search"), claimed(store.circuit_folder(run.id)):
            pass
        seen.append(run)

    monkeypatch.setattr(worker, "work", work)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert worker.main(store.folder(run.id)) == 0
    assert len(seen) == 1
    assert store.read(run.id).state == "done"
    assert worker.main(store.folder(run.id)) == 0
    assert len(seen) == 1, "a run that has ended is not searched again"


def test_a_file_system_without_locks_is_served_by_a_marker(tmp_path, monkeypatch):
    """And the marker of a process that is no more does not block."""
    from filelock._native import _unix

    def missing(_fd: int) -> bool:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(_unix, "lock_fd_nonblocking", missing)
    with claimed(tmp_path / "out"), pytest.raises(ArtifactError, match="another search"), claimed(tmp_path / "out"):
        pass
    code = HOLD.replace("from discogp.paths", PATCH + "from discogp.paths")
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "out")], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(ArtifactError, match="another search"), claimed(tmp_path / "out"):
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    with claimed(tmp_path / "out"):
        pass


PATCH = """
from filelock._native import _unix
def missing(_fd): raise OSError(38, "Function not implemented")
_unix.lock_fd_nonblocking = missing
"""


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        (".", "no name of its own"),
        ("/", "no name of its own"),
        ("..", "no name of its own"),
        ("a/..", "no name of its own"),
        ("file", "in the way"),
        ("file/below", "not a folder"),
        ("file/far/below", "not a folder"),
        ("x" * 250, "too long"),
        ("new/" + "x" * 250 + "/out", "too long"),
        ("loop/out", "Too many levels|not a folder"),
        ("full", "other things than a circuit"),
        ("/proc/out", "cannot be written"),
        ("/sys/out", "cannot be written"),
        ("checkpoint-in-the-way", "is a folder, in the way"),
    ],
)
def test_where_nothing_can_be_written_is_told_before_the_model(tmp_path, monkeypatch, discover, capsys, out, reason):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("loop").symlink_to("loop")
    Path("full").mkdir()
    Path("full/mine").touch()
    Path("checkpoint-in-the-way.checkpoint").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert discover(out) == 1
    said = capsys.readouterr().err
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(said)
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert len(said) < 700
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "no name of its own"),
        ("a\0b", "no name for a file"),
        ("x" * 300, "too long"),
        ("y/" * 2100 + "out", "too long"),
        ("\ud800", "no name for a file"),
    ],
)
def test_names_that_the_command_line_refuses_already(tmp_path, monkeypatch, name, reason):
    monkeypatch.chdir(tmp_path)
    for use in (check_writable, lambda target: claimed(target).__enter__(), check_replaceable):
        with pytest.raises(ArtifactError, match=reason) as told:
            use(Path(name))
        assert len(str(told.value)) < 400
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_to(tmp_path, monkeypatch, discover, capsys):
    """Tests may run as root, whom no permission stops; so the refusal is the system's in all but its origin."""
    (tmp_path / "theirs").mkdir()
    made = os.mkdir

    def refuse(path: object, *rest: object) -> None:
        if Path(str(path)).parent == tmp_path / "theirs":
            raise PermissionError(13, "Permission denied")
        made(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "mkdir", refuse)
    for out in ("theirs/out", "theirs/deep/out"):
        assert discover(str(tmp_path / out)) == 1
        assert "cannot be written: Permission denied" in capsys.readouterr().err
    with pytest.raises(ArtifactError, match="Permission denied"):
        check_writable(tmp_path / "theirs" / "picture.svg")


def test_a_full_disk(tmp_path, monkeypatch, discover, capsys):
    usage = shutil.disk_usage(tmp_path)._replace(free=3 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert discover(str(tmp_path / "out")) == 1
    assert "there are 3 MB left" in capsys.readouterr().err


def test_the_folder_that_the_program_runs_in_is_left(tmp_path, monkeypatch):
    (tmp_path / "here" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "below")
    for target in (tmp_path / "here", Path("../below")):
        with pytest.raises(ArtifactError, match="where this program runs"):
            check_writable(target)


def test_parents_are_made_and_stay_only_if_something_is_in_them(tmp_path):
    out = tmp_path / "a" / "b" / "out"
    with places(out, out.with_name("out-last"), out.with_name("out.checkpoint")):
        assert {path.name for path in out.parent.iterdir()} == {".out.lock", ".out-last.lock"}
    assert list(tmp_path.iterdir()) == []
    with claimed(out):
        out.mkdir()
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_import_looks_at_its_place_first_and_holds_it(tmp_path, monkeypatch, capsys, holder):
    from discogp.engine import masked_transformer

    monkeypatch.setattr(masked_transformer, "load_model", no_model)
    (tmp_path / "file").touch()
    (tmp_path / "edges.txt").write_text("input->logits\n")
    for out, reason in ((".", "no name"), ("file/below", "not a folder"), ("out", "another search")):
        target = out if out == "." else str(tmp_path / out)
        assert main(["import", str(tmp_path / "edges.txt"), "--model", "mini", "--out", target]) == 1
        said = capsys.readouterr().err
        assert reason in said
        assert said.count("\n") == 1


@pytest.mark.parametrize("format", ["svg", "hf"])
def test_an_export_looks_at_its_place_first(tmp_path, monkeypatch, capsys, format):
    from discogp import export as exporting

    monkeypatch.setattr(exporting, "render", no_model)
    (tmp_path / "file").touch()
    example = ROOT / "assets" / "examples" / "mini-ioi-edges"
    for out in (".", "/", "file/below", "x" * 250):
        target = out if out in (".", "/") else str(tmp_path / out)
        assert main(["export", str(example), "--format", format, "--out", target]) == 1
        assert capsys.readouterr().err.count("\n") == 1


def test_who_waits_for_a_lock_that_its_holder_takes_away_gets_a_new_one(tmp_path):
    """The lock's file is removed while it is held, so nobody may come to hold a file that has no name."""
    held = []
    with claimed(tmp_path / "out"):
        waiting = filelock.FileLock(tmp_path / ".out.lock")
        with pytest.raises(filelock.Timeout):
            waiting.acquire(timeout=0.1)
    with waiting.acquire(timeout=1):
        held.append((tmp_path / ".out.lock").exists())
    assert held == [True]


def test_the_claims_of_a_search_are_gone_at_its_end(tmp_path):
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "discogp", "discover", "--model", "/no/such/model", "--task", "ioi",
         "--out", str(tmp_path / "deep" / "out")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "/no/such/model" in done.stderr
    assert list(tmp_path.iterdir()) == []
    assert time.monotonic() - began < 120


def test_a_lock_that_somebody_holds_is_not_waited_for(tmp_path, monkeypatch) -> None:
    waited = []

    def acquire(lock, timeout):
        waited.append(timeout)
        raise Timeout(lock.lock_file)

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with pytest.raises(ArtifactError, match="another search is about to write"), claimed(tmp_path / "out"):
        pass
    assert waited == [0]


def test_a_folder_with_other_things_is_told_when_places_are_taken(tmp_path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work", encoding="utf-8")
    with (
        pytest.raises(ArtifactError, match=r"holds other things than a circuit \(thesis.txt\)"),
        places(out, tmp_path / "out-last", tmp_path / "out.checkpoint"),
    ):
        pass
