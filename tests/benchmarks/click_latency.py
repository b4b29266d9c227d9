"""How long from a click on an edge to new figures on the page: median over real clicks in Chromium.

    python -m tests.benchmarks.click_latency [--clicks 24] [--circuit example:mini-ioi-edges] [--json]
    python -m tests.benchmarks.click_latency --circuit example:smollm2-anaphor-number-edges

Starts the app on a free port with an empty home folder, in which the models that are here already are linked, opens the
circuit, and clicks edges one after the other; each is switched on again, unmeasured, before the next. Measured in the
browser: from the moment the click is dispatched to the moment the metrics table carries figures computed for it, those
of the first prompts, and to the moment they are those of all prompts. Also measures how long the page takes to show the
graph after it was asked for.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from discogp import paths
from tests.browser.conftest import serve
from tests.conftest import QUIET, chromium

# Resolves with the milliseconds from now until the table's revision has changed, and until it is of all prompts. The
# observer sees the whole document, since Streamlit may replace the table's element rather than change it. Before the
# first figures of a click the table has no revision.
WAIT = """
() => new Promise((resolve, reject) => {
  const table = () => document.querySelector('.dg-metrics')?.dataset;
  const before = table()?.revision;
  let clicked = null, first = null;
  addEventListener('pointerdown', () => { clicked = performance.now(); }, { once: true, capture: true });
  const observer = new MutationObserver(() => {
    const now = table();
    if (!now?.revision || now.revision === before) return;
    first ??= performance.now() - clicked;
    if (now.settled === 'true') { observer.disconnect(); resolve([first, performance.now() - clicked]); }
  });
  observer.observe(document.body, { subtree: true, childList: true, attributes: true });
  setTimeout(() => { observer.disconnect(); reject(new Error('no settled figures within 120 s')); }, 120000);
})
"""


def measure(url: str, circuit: str, clicks: int) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    path = chromium()
    if path is None:
        raise SystemExit("no Chromium found; set DISCOGP_CHROMIUM to its path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(path), args=QUIET)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        drawn = "window.__circuitGraph?.curves && window.__circuitGraph.clickableEdges(1).length === 1"
        began = time.monotonic()
        page.goto(f"{url}/?circuit={quote(circuit)}")
        page.wait_for_function(drawn, timeout=60_000)
        first_open = time.monotonic() - began
        page.wait_for_selector(".dg-metrics:not([data-revision=saved])", timeout=600_000)
        ready = time.monotonic() - began
        began = time.monotonic()
        page.reload()
        page.wait_for_function(drawn, timeout=60_000)
        second_open = time.monotonic() - began
        page.wait_for_selector(".dg-metrics:not([data-revision=saved])")
        page.wait_for_timeout(1500)
        times = []
        for place in range(clicks):
            name = page.evaluate(
                "n => { const all = window.__circuitGraph.clickableEdges(); return all[n % all.length]; }", place
            )
            times.append(click(page, name))
            click(page, name)  # on again, so that every measured click is the first one off
        browser.close()
    return {
        "circuit": circuit,
        "clicks": clicks,
        **_spread("first", [first for first, _ in times]),
        **_spread("settled", [settled for _, settled in times]),
        "first_open_s": round(first_open, 2),
        "second_open_s": round(second_open, 2),
        "figures_ready_s": round(ready, 2),
    }


def _spread(name: str, times: Sequence[float]) -> dict[str, float]:
    """Median, nine in ten and the longest of some milliseconds."""
    ordered = sorted(times)
    return {
        f"{name}_median_ms": round(statistics.median(ordered), 1),
        f"{name}_p90_ms": round(ordered[int(0.9 * (len(ordered) - 1))], 1),
        f"{name}_max_ms": round(ordered[-1], 1),
    }


def click(page: Any, name: str) -> tuple[float, float]:
    """Milliseconds from a click on this edge to its first and to its last figures; then a pause, as people make it."""
    point = page.evaluate("id => window.__circuitGraph.edgePoint(id)", name)
    page.evaluate(f"window.__waiting = ({WAIT})(); null")
    page.mouse.click(point["x"], point["y"])
    first, settled = page.evaluate("window.__waiting")
    page.wait_for_timeout(400)
    return first, settled


def link_models(home: Path) -> None:
    """Let an empty home folder have the models of the usual one: to fetch or to copy them is not what is measured."""
    usual = paths.home() / "models"
    (home / "models").mkdir()
    for folder in usual.iterdir() if usual.is_dir() else ():
        (home / "models" / folder.name).symlink_to(folder, target_is_directory=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=24)
    parser.add_argument("--circuit", default="example:mini-ioi-edges")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        link_models(Path(home))
        with serve(Path(home)) as url:
            found = measure(url, arguments.circuit, arguments.clicks)
    lines = [json.dumps(found)] if arguments.json else [f"{key}: {value}" for key, value in found.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
