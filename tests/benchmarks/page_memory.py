"""Whether the memory of the page's process stays flat: sessions opened and closed, models and circuits in turn.

    python -m tests.benchmarks.page_memory [--sessions 50] [--rounds 5] [--circuits 10] [--bound 0.1] [--json]

Runs the server with an empty home folder (but for links to this machine's models) and drives it in Chromium. Three
parts: `sessions`, the mini example opened and closed so many times; `models`, a circuit of each model on this machine
in turn, so many rounds; `circuits`, so many circuits of SmolLM2, files made of the example with some of its edges left
out, one after the other, where that model is here. Resident memory after each round in MB. Exits 1 where a part's last
figure is above that after its second round (of circuits the fifth: four are kept ready), by more than `--bound` as a
share, or by more than 60 MB where that is more.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from discogp import paths
from discogp.circuits.artifact import load_circuit, save_circuit
from discogp.runs import RunSettings, RunStore
from tests.benchmarks.first_start import fresh_home
from tests.browser.conftest import serve
from tests.conftest import QUIET, chromium

LEAST_MB = 60.0
MINI, SMOLLM2 = "mini-ioi-edges", "smollm2-anaphor-number-edges"
_LIMIT = 600_000
_FULL = {"circuits": 4}  # the round, from 0, after which no more is kept than before
_PAUSE = 1500  # ms after a page was closed, in which the server ends its session


class Driver:
    """The page in a browser, and what its process takes."""

    def __init__(self, server: serve, url: str, browser: Any) -> None:
        self._process, self._url, self._browser = psutil.Process(server.process.pid), url, browser

    def look(self, circuit: str) -> None:
        """Open a circuit in a session of its own, wait for its graph and figures, and close it."""
        context = self._browser.new_context()
        page = context.new_page()
        page.goto(f"{self._url}/?circuit={quote(circuit)}")
        page.wait_for_selector(".dg-metrics:not([data-revision=saved])", timeout=_LIMIT)
        page.wait_for_function("window.__circuitGraph?.curves", timeout=_LIMIT)
        context.close()

    def mb(self) -> float:
        page = self._browser.new_page()
        page.wait_for_timeout(_PAUSE)
        page.close()
        return round(self._process.memory_info().rss / 2**20, 1)


def sessions(drive: Driver, count: int) -> Iterator[float]:
    for round_ in range(count):
        drive.look(f"example:{MINI}")
        if (round_ + 1) % max(1, count // 10) == 0:
            yield drive.mb()


def models(drive: Driver, rounds: int, examples: list[str]) -> Iterator[float]:
    for _ in range(rounds):
        for name in examples:
            drive.look(f"example:{name}")
        yield drive.mb()


def circuits(drive: Driver, runs: list[str]) -> Iterator[float]:
    for run in runs:
        drive.look(f"run:{run}")
        yield drive.mb()


def made_runs(home: Path, count: int) -> list[str]:
    """Finished searches whose circuits are the SmolLM2 example without some of its edges."""
    store, circuit = RunStore(home / "runs"), load_circuit(paths.assets() / "examples" / SMOLLM2)
    config = dict(circuit.provenance["config"])
    made = []
    for place in range(count):
        run = store.create(RunSettings(model="smollm2-135m", task=circuit.provenance["task"], config=config))
        save_circuit(circuit.without(circuit.edges[place::count][:50]), store.circuit_folder(run.id))
        store.finish(run.id, "done")
        made.append(run.id)
    return made


def grown(part: str, figures: list[float], bound: float) -> bool:
    """Whether the last figure is above that of the round in which all is there that is kept, by more than the bound."""
    full = _FULL.get(part, 1)
    if len(figures) < full + 2:
        return False
    return figures[-1] - figures[full] > max(LEAST_MB, bound * figures[full])


def measure(arguments: argparse.Namespace) -> dict[str, list[float]]:
    from playwright.sync_api import sync_playwright

    path = chromium()
    if path is None:
        raise SystemExit("no Chromium found; set DISCOGP_CHROMIUM to its path")
    found: dict[str, list[float]] = {}
    here = (paths.home() / "models" / "smollm2-135m" / "model.safetensors").is_file()
    with fresh_home() as home, sync_playwright() as playwright:
        runs = made_runs(home, arguments.circuits) if here else []
        browser = playwright.chromium.launch(executable_path=shutil.which(path), args=QUIET)
        server = serve(home)
        with server as url:
            drive = Driver(server, url, browser)
            parts = {
                "sessions": sessions(drive, arguments.sessions),
                "models": models(drive, arguments.rounds, [MINI, *([SMOLLM2] if here else [])]),
                "circuits": circuits(drive, runs),
            }
            for part, figures in parts.items():
                found[part] = list(figures)
                sys.stderr.write(f"{part}, MB: {found[part]}\n")
        browser.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--circuits", type=int, default=10)
    parser.add_argument("--bound", type=float, default=0.1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments)
    over = [part for part, figures in found.items() if grown(part, figures, arguments.bound)]
    lines = [json.dumps(found)] if arguments.json else [f"{part}, MB: {figures}" for part, figures in found.items()]
    lines += [f"{part} grew beyond the bound" for part in over]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
