"""The README's pictures, taken from the real page in Chromium: `python -m tests.pictures`.

Starts the app with an empty home folder, opens the first example, switches its strongest edge off, waits for the
figures of all prompts, and writes `assets/images/explore.png` and `explore-dark.png`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tests.browser.conftest import Visit, serve
from tests.conftest import QUIET, chromium
from tests.places import ROOT

WIDTH, HEIGHT = 1400, 900
PICTURES: Mapping[Literal["light", "dark"], str] = {"light": "explore.png", "dark": "explore-dark.png"}


def main(folder: Path = ROOT / "assets" / "images") -> int:
    from playwright.sync_api import sync_playwright

    path = chromium()
    if path is None:
        raise SystemExit("no Chromium found; set DISCOGP_CHROMIUM to its path")
    with tempfile.TemporaryDirectory() as home, serve(Path(home)) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(path), args=QUIET)
        for scheme, name in PICTURES.items():
            page = browser.new_page(
                viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme, device_scale_factor=1
            )
            page.goto(url)
            visit = Visit(page, url)
            visit.graph_drawn()
            page.wait_for_function("window.__circuitGraph.graph.widthsShow !== 'score'", timeout=120_000)
            visit.figures_computed()
            visit.click_edge()
            page.get_by_role("button", name="Keep what is left as a circuit").wait_for(timeout=120_000)
            page.mouse.move(700, 5)
            page.wait_for_timeout(1000)
            page.screenshot(path=folder / name)
            page.close()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
