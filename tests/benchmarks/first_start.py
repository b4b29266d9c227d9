"""How long from opening the page on a fresh server to the answer to a first click, in Chromium.

    python -m tests.benchmarks.first_start [--circuit example:mini-ioi-edges] [--repeats 3] [--json]

Every repetition starts a server of its own with an empty home folder, in which only the models of this machine's own
home lie, as links. The page is opened once the server answers. Seconds since then: `page opened`, its first words are
there; `graph drawn`, an edge can be clicked; `model ready`, the figures are computed; `first click answered`, an edge
was clicked and the figures are those without it. `--at-once` clicks when the graph is drawn, before the model is there.
Figures are medians; `all` has every repetition's last one, and `server's CPU seconds` what its process used until then,
which another program on the same cores changes less.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from discogp import paths
from tests.browser.conftest import serve
from tests.conftest import QUIET, chromium

DRAWN = "window.__circuitGraph?.curves && window.__circuitGraph.clickableEdges(1).length === 1"
REVISION = "document.querySelector('.dg-metrics')?.dataset.revision"
MARKS = ("page opened", "graph drawn", "model ready", "first click answered")
_LIMIT = 300_000


@contextmanager
def fresh_home() -> Iterator[Path]:
    """An empty home folder, but for links to the models that are on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        models = paths.home() / "models"
        if models.is_dir():
            (home / "models").mkdir()
            for place in models.iterdir():
                (home / "models" / place.name).symlink_to(place.resolve(), target_is_directory=True)
        yield home


def opened(url: str, circuit: str, browser: Any, at_once: bool) -> dict[str, float]:
    """Seconds from the call to each of MARKS."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    marks: dict[str, float] = {}
    began = time.monotonic()

    def mark(name: str) -> None:
        marks[name] = time.monotonic() - began

    page.goto(f"{url}/?circuit={quote(circuit)}")
    page.wait_for_selector(".dg-metrics", timeout=_LIMIT)
    mark(MARKS[0])
    page.wait_for_function(DRAWN, timeout=_LIMIT)
    mark(MARKS[1])
    if at_once:
        _click(page)
    page.wait_for_selector(".dg-metrics:not([data-revision=saved])", timeout=_LIMIT)
    mark(MARKS[2])
    if not at_once:
        before = page.evaluate(REVISION)
        _click(page)
        page.wait_for_function(f"old => {REVISION} && {REVISION} !== old", arg=before, timeout=_LIMIT)
    page.wait_for_selector(".dg-metrics .dg-without .dg-value", timeout=_LIMIT)
    mark(MARKS[3])
    page.close()
    return marks


def _click(page: Any) -> None:
    name = page.evaluate("window.__circuitGraph.clickableEdges(1)[0]")
    point = page.evaluate("id => window.__circuitGraph.edgePoint(id)", name)
    page.mouse.click(point["x"], point["y"])


def measure(circuit: str, repeats: int, at_once: bool) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    path = chromium()
    if path is None:
        raise SystemExit("no Chromium found; set DISCOGP_CHROMIUM to its path")
    found, seconds = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(path), args=QUIET)
        browser.new_page().goto("about:blank")  # the browser's own first start is not what is measured
        for _ in range(repeats):
            with fresh_home() as home:
                server = serve(home)
                with server as url:
                    found.append(opened(url, circuit, browser, at_once))
                    used = psutil.Process(server.process.pid).cpu_times()
                    seconds.append(used.user + used.system)
        browser.close()
    medians = {name: round(statistics.median(marks[name] for marks in found), 2) for name in MARKS}
    used = round(statistics.median(seconds), 1)
    every = [round(marks[MARKS[-1]], 2) for marks in found]
    return {"circuit": circuit, "repeats": repeats, **medians, "server's CPU seconds": used, "all": every}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--circuit", default="example:mini-ioi-edges")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--at-once", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.circuit, arguments.repeats, arguments.at_once)
    lines = [json.dumps(found)] if arguments.json else [f"{key}: {value}" for key, value in found.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
