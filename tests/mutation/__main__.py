"""`python -m tests.mutation [--only TEXT] [--jobs N] [--list]`: which faults of the list the tests notice.

Every fault goes alone into a temporary copy of the checkout, where the tests of its file run until the first that
fails. A run out of time counts as noticed: a loop that never ends is seen by anybody.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tests.mutation.faults import FAULTS, Fault
from tests.places import ROOT

PARTS = ("discogp", "app", "assets", "tests", "pyproject.toml", "README.md", "requirements.txt", "CHANGELOG.md")
MOST_SECONDS = 600
_RAN, _FAILED, _BROKEN = 0, 1, 2  # pytest's exit codes; beyond these it has not run the tests at all


def copy_to(folder: Path) -> Path:
    """The checkout without environments and history."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    return folder


def run(fault: Fault, copy: Path) -> str | None:
    """What noticed the fault, None for nothing. RuntimeError if the tests could not be run."""
    file = copy / fault.file
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace(fault.before, fault.after), encoding="utf-8")
    try:
        # One thread each, and no bytecode: two faults of one size within a second would look alike to its cache.
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", *fault.tests]
        found = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=MOST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "out of time"
    finally:
        file.write_text(whole, encoding="utf-8")
    if found.returncode not in (_RAN, _FAILED, _BROKEN):
        raise RuntimeError(
            f"{fault}: pytest ended with {found.returncode}:\n{found.stdout[-2000:]}{found.stderr[-2000:]}"
        )
    if found.returncode == _RAN:
        return None
    told = [line for line in found.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return told[0].split(" - ")[0] if told else "an error"


def check_that_the_copy_is_what_runs(copy: Path) -> None:
    code = "import discogp, sys; sys.stdout.write(discogp.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    where = subprocess.run([sys.executable, "-c", code], cwd=copy, env=environment, capture_output=True, text=True)
    if not Path(where.stdout).is_relative_to(copy):
        raise RuntimeError(f"discogp is imported from {where.stdout}, not from the copy at {copy}")


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
    missed = []
    with ExitStack() as stack, ThreadPoolExecutor(options.jobs) as pool:
        copies: queue.Queue[Path] = queue.Queue()
        for _ in range(options.jobs):
            copies.put(copy_to(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mutation-")))))
        check_that_the_copy_is_what_runs(copies.queue[0])

        def one(fault: Fault) -> str | None:
            copy = copies.get()
            try:
                return run(fault, copy)
            finally:
                copies.put(copy)

        for fault, noticed in zip(chosen, pool.map(one, chosen), strict=True):
            say(f"{'noticed    ' if noticed else 'NOT NOTICED'} {fault}" + (f"  [{noticed}]" if noticed else ""))
            if not noticed:
                missed.append(fault)
    done = len(chosen) - len(missed)
    say(f"{done} of {len(chosen)} noticed ({done / max(len(chosen), 1):.0%})")
    return 1 if missed else 0


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
