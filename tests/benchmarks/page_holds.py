"""What holds the page: the longest that one of its scripts runs, while a large file is opened and on every page.

    python -m tests.benchmarks.page_holds [--edges 400000] [--megabytes 46] [--runs 300] [--json]

Measured in Chromium by Streamlit's own mark of a running script, during which what is shown goes grey and a click
waits. Files and runs are made for the purpose: a circuit of that many edges, drawn at random, as JSON of that size, and
folders of searches that ended. `clicks` are those of another visitor, on the mini example, while the file is opened.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from discogp.circuits.circuit import Circuit
from discogp.circuits.document import circuit_to_json
from discogp.circuits.graph import ComputationGraph
from discogp.methods.discogp.settings import config_to_dict, preset
from discogp.runs import RunSettings, RunStore
from tests.benchmarks.click_latency import click
from tests.benchmarks.first_start import DRAWN, fresh_home
from tests.browser.conftest import serve
from tests.conftest import QUIET, chromium

# Keeps the longest span, in milliseconds, for which the page called itself running.
WATCH = """
() => {
  window.__longest = 0;
  let since = null;
  const look = () => {
    const running = document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'running';
    const now = performance.now();
    if (running && since === null) since = now;
    if (since !== null) window.__longest = Math.max(window.__longest, now - since);
    if (!running) since = null;
  };
  setInterval(look, 20);
}
"""
PAGES = {"Discover": "discover", "Runs": "runs", "Tasks": "tasks", "Models": "models", "Guide": "guide"}


def large_file(place: Path, edges: int, megabytes: float) -> None:
    """A circuit of so many edges, in a JSON of about that size: white space makes up for what is missing."""
    graph = ComputationGraph(48, 20) if edges > 50_000 else ComputationGraph(30, 9)
    random = np.random.default_rng(0)
    mask = np.zeros(graph.n_edges, dtype=bool)
    mask[random.choice(graph.n_edges, edges, replace=False)] = True
    circuit = Circuit(graph, mask, random.normal(size=graph.n_edges).astype(np.float32))
    written = circuit_to_json(circuit)
    lines = written.count("\n")
    indent = max(0, int((megabytes * 1e6 - len(written)) / max(1, lines)))
    place.write_text(written.replace("\n", "\n" + " " * indent), encoding="utf-8")


def many_runs(home: Path, count: int) -> None:
    """Searches that were cancelled before they began."""
    store = RunStore(home / "runs")
    for _ in range(count):
        settings = RunSettings(model="mini", task="ioi", config=config_to_dict(preset("quick")))
        store.finish(store.create(settings).id, "cancelled")


def longest(page: Any) -> float:
    return round(page.evaluate("window.__longest") / 1000, 2)


def watched(page: Any) -> None:
    page.evaluate(WATCH)


def measure(url: str, file: Path, edges: int, browser: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    other, page = (browser.new_page(viewport={"width": 1400, "height": 900}) for _ in range(2))
    other.goto(url)
    other.wait_for_selector(".dg-metrics:not([data-revision=saved])", timeout=300_000)
    other.wait_for_function(DRAWN)
    page.goto(url)
    page.wait_for_selector(".dg-metrics:not([data-revision=saved])", timeout=300_000)
    page.wait_for_timeout(2000)
    watched(page)
    page.get_by_role("button", name="Open file").click()
    began = time.monotonic()
    page.locator("input[type=file]").set_input_files(file)
    times = []
    opened = page.get_by_text(f"{edges:,} of ").first
    while not opened.is_visible() and time.monotonic() - began < 120:
        name = other.evaluate("window.__circuitGraph.clickableEdges(1)[0]")
        times.append(click(other, name))
    page.wait_for_function(DRAWN, timeout=300_000)
    found["file opened and drawn, s"] = round(time.monotonic() - began, 2)
    page.wait_for_timeout(3000)
    found["longest script run while it is opened, s"] = longest(page)
    found["clicks of another visitor meanwhile, worst, ms"] = round(max(times), 1) if times else None
    for title, place in PAGES.items():
        page = browser.new_page()
        page.goto(f"{url}/guide")
        page.get_by_role("heading", name="Guide").wait_for()
        page.wait_for_timeout(1000)
        watched(page)
        page.get_by_role("link", name=title).click()
        page.wait_for_url(f"**/{place}", timeout=60_000)
        page.wait_for_timeout(8000)
        found[f"longest script run on {title}, s"] = longest(page)
        page.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, default=400_000)
    parser.add_argument("--megabytes", type=float, default=46)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    path = chromium()
    if path is None:
        raise SystemExit("no Chromium found; set DISCOGP_CHROMIUM to its path")
    with fresh_home() as home, sync_playwright() as playwright:
        file = home / "large.json"
        large_file(file, arguments.edges, arguments.megabytes)
        browser = playwright.chromium.launch(executable_path=shutil.which(path), args=QUIET)
        with serve(home) as url:
            many_runs(home, arguments.runs)
            found = {"MB": round(file.stat().st_size / 1e6, 1), **measure(url, file, arguments.edges, browser)}
        browser.close()
    lines = [json.dumps(found)] if arguments.json else [f"{key}: {value}" for key, value in found.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
