"""What tests of several folders share: one Chromium for all of them, since Playwright allows one at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from jaxtyping import config, install_import_hook

# Before anything of the two is imported: every call in them then checks the shapes that its annotations name. Only
# tests pay for that.
install_import_hook(["discogp.engine", "discogp.evaluation"], "beartype.beartype")


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """For tests of what a caller is told of wrong arguments: elsewhere nothing stands before the engine's checks."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


REQUIRED = os.environ.get("DISCOGP_REQUIRE_BROWSER") == "1"
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def chromium() -> str | None:
    named = os.environ.get("DISCOGP_CHROMIUM")
    candidates = [named] if named else ["/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome"]
    return next((path for path in candidates if path and shutil.which(path)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    path = chromium()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        reason = "needs playwright and a Chromium (set DISCOGP_CHROMIUM to its path)"
        pytest.fail(reason) if REQUIRED else pytest.skip(reason)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=shutil.which(path), args=QUIET)
        yield launched
        launched.close()
