"""`python -m tests.mutation [--only TEXT] [--jobs N] [--list]`: which faults of the list the tests notice.

Every fault goes alone into a temporary copy of the checkout, where the tests of its file run until the first that
fails, in a process forked from one that has imported the large libraries already. A run out of time counts as noticed:
a loop that never ends is seen by anybody.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: one core a fault, and no threads that a fork would lose

import argparse
import importlib
import importlib.util
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from tests.mutation.faults import FAULTS, Fault
from tests.places import ROOT

PARTS = ("discogp", "app", "assets", "tests", "pyproject.toml", "README.md", "requirements.txt", "CHANGELOG.md")
LARGE = (
    *("numpy", "torch", "pandas", "networkx", "safetensors.torch", "tokenizers", "transformers"),
    *("transformers.models.gpt2.modeling_gpt2", "transformers.models.llama.modeling_llama"),
)
MOST_SECONDS = 900
_RAN, _FAILED, _BROKEN = 0, 1, 2  # pytest's exit codes; beyond these it has not run the tests at all


class Slot:
    """A copy of the checkout, without environments and history, in which one fault at a time is tried."""

    def __init__(self, folder: Path) -> None:
        self.copy, self.output = folder / "checkout", folder / "output"
        self.copy.mkdir()
        for part in PARTS:
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, self.copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, self.copy / part)
        self.fault: Fault | None = None

    def start(self, fault: Fault) -> None:
        self.fault, self.began = fault, time.monotonic()
        text = (ROOT / fault.file).read_text(encoding="utf-8")
        (self.copy / fault.file).write_text(text.replace(fault.before, fault.after), encoding="utf-8")
        self.process: ForkProcess = multiprocessing.get_context("fork").Process(target=self._test, args=(fault.tests,))
        self.process.start()

    def _test(self, tests: Sequence[str]) -> None:
        """In a process of its own: the copy's modules, and no bytecode, whose cache takes two faults for one."""
        os.chdir(self.copy)
        os.environ.update(PYTHONPATH=str(self.copy), PYTHONDONTWRITEBYTECODE="1")
        sys.dont_write_bytecode = True
        sys.path[:] = [str(self.copy), *(path for path in sys.path if path not in ("", str(ROOT)))]
        for name in [name for name in sys.modules if name.split(".")[0] in ("discogp", "app", "tests")]:
            del sys.modules[name]
        with self.output.open("w", encoding="utf-8") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        found = importlib.util.find_spec("discogp")
        if found is None or not Path(str(found.origin)).is_relative_to(self.copy):
            sys.exit(99)
        sys.exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no", *tests])))

    def done(self) -> tuple[Fault, str | None] | None:
        """The fault and what noticed it (None: nothing), once its tests have ended."""
        if self.fault is None:
            return None
        late = time.monotonic() - self.began > MOST_SECONDS
        if self.process.is_alive() and not late:
            return None
        if late:
            self.process.kill()
        self.process.join()
        fault, self.fault = self.fault, None
        shutil.copy(ROOT / fault.file, self.copy / fault.file)
        told = self.output.read_text(encoding="utf-8", errors="replace")
        if late:
            return fault, "out of time"
        if self.process.exitcode not in (_RAN, _FAILED, _BROKEN):
            raise RuntimeError(f"{fault}: the tests ended with {self.process.exitcode}:\n{told[-2000:]}")
        failed = [line for line in told.splitlines() if line.startswith(("FAILED", "ERROR"))]
        noticed = failed[0].split(" - ")[0] if failed else "an error"
        return fault, noticed if self.process.exitcode != _RAN else None


def tried(faults: Sequence[Fault], slots: Sequence[Slot]) -> Iterator[tuple[Fault, str | None]]:
    waiting = list(faults)
    while waiting or any(slot.fault for slot in slots):
        for slot in slots:
            if (found := slot.done()) is not None:
                yield found
            if slot.fault is None and waiting:
                slot.start(waiting.pop(0))
        time.sleep(0.05)


def main(arguments: Iterable[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--only", default="", help="faults whose file, text or reason has this in it")
    parser.add_argument("--jobs", type=int, default=1, help="faults at a time (default 1)")
    parser.add_argument("--list", action="store_true", help="say which faults there are, and run nothing")
    options = parser.parse_args(None if arguments is None else list(arguments))
    chosen = [fault for fault in FAULTS if options.only in str(fault)]
    if options.list:
        for fault in chosen:
            say(str(fault))
        return 0
    for name in LARGE:
        importlib.import_module(name)
    missed = 0
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        slots = []
        for i in range(options.jobs):
            (Path(folder) / str(i)).mkdir()
            slots.append(Slot(Path(folder) / str(i)))
        for fault, noticed in tried(chosen, slots):
            say(f"{'noticed    ' if noticed else 'NOT NOTICED'} {fault}" + (f"  [{noticed}]" if noticed else ""))
            missed += noticed is None
    done = len(chosen) - missed
    say(f"{done} of {len(chosen)} noticed ({done / max(len(chosen), 1):.1%})")
    return 1 if missed else 0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
