"""How long from a click on an edge to new figures on the page: median over real clicks in Chromium.

    python -m tests.benchmarks.click_latency [--clicks 24] [--circuit example:mini-ioi-edges] [--json]

Starts the app on a free port with an empty home folder, opens the circuit, and clicks edges one after the other;
each is switched on again, unmeasured, before the next. Measured in the browser: from the moment the click is
dispatched to the moment the metrics table carries the figures computed for it. Also measures how long the page
takes to show the graph after it was asked for.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.browser.conftest import serve
from tests.conftest import QUIET, chromium

# Resolves with the milliseconds from now until the table's revision has changed. The observer sees the whole
# document, since Streamlit may replace the table's element rather than change it.
WAIT = """
() => new Promise((resolve, reject) => {
  const revision = () => document.querySelector('.dg-metrics')?.dataset.revision;
  const before = revision();
  let clicked = null;
  addEventListener('pointerdown', () => { clicked = performance.now(); }, { once: true, capture: true });
  const observer = new MutationObserver(() => {
    const now = revision();
    if (now && now !== before) { observer.disconnect(); resolve(performance.now() - clicked); }
  });
  observer.observe(document.body, { subtree: true, childList: true, attributes: true });
  setTimeout(() => { observer.disconnect(); reject(new Error('no new figures within 20 s')); }, 20000);
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
        page.wait_for_selector(".dg-metrics:not([data-revision=saved])", timeout=180_000)
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
    times.sort()
    return {
        "circuit": circuit,
        "clicks": clicks,
        "median_ms": round(statistics.median(times), 1),
        "p90_ms": round(times[int(0.9 * (len(times) - 1))], 1),
        "max_ms": round(times[-1], 1),
        "first_open_s": round(first_open, 2),
        "second_open_s": round(second_open, 2),
        "figures_ready_s": round(ready, 2),
    }


def click(page: Any, name: str) -> float:
    """Milliseconds from a click on this edge to its figures; then a pause, as people make it."""
    point = page.evaluate("id => window.__circuitGraph.edgePoint(id)", name)
    page.evaluate(f"window.__waiting = ({WAIT})(); null")
    page.mouse.click(point["x"], point["y"])
    taken = page.evaluate("window.__waiting")
    page.wait_for_timeout(400)
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=24)
    parser.add_argument("--circuit", default="example:mini-ioi-edges")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, serve(Path(home)) as url:
        found = measure(url, arguments.circuit, arguments.clicks)
    lines = [json.dumps(found)] if arguments.json else [f"{key}: {value}" for key, value in found.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
