"""The real app in a real Chromium: one server for all tests of this folder, a fresh browser page for each."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.places import ROOT


@dataclass
class App:
    """Where the server answers, and where it keeps its runs."""

    url: str
    home: Path


@dataclass
class Visit:
    """A browser page, with every address it asked for outside this machine and every error it reported."""

    page: Any
    url: str
    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, path: str = "", query: str = "") -> None:
        self.page.goto(f"{self.url}/{path}{query}")

    def graph_drawn(self, timeout: float = 30_000) -> None:
        self.page.wait_for_function(
            "window.__circuitGraph?.curves && window.__circuitGraph.clickableEdges(1).length === 1", timeout=timeout
        )

    def figures_computed(self, timeout: float = 60_000) -> None:
        self.page.wait_for_selector(".dg-metrics:not([data-revision=saved])", timeout=timeout)

    def revision(self) -> str:
        return self.page.locator(".dg-metrics").get_attribute("data-revision")

    def row(self, role: str) -> list[str]:
        """The shown values of one row of the metrics table."""
        return self.page.locator(f".dg-metrics .dg-{role} .dg-value").all_inner_texts()

    def settled(self, timeout: float = 60_000) -> None:
        """Wait until the figures are those of all prompts."""
        self.page.wait_for_selector(".dg-metrics[data-settled=true]", timeout=timeout)

    def click_edge(self, place: int = 0) -> str:
        """Click the `place`-th clickable edge, wait for its figures on all prompts, return its name."""
        before = self.revision()
        name = self.page.evaluate("n => window.__circuitGraph.clickableEdges(n + 1)[n]", place)
        point = self.page.evaluate("id => window.__circuitGraph.edgePoint(id)", name)
        self.page.mouse.click(point["x"], point["y"])
        changed = (
            "old => { const now = document.querySelector('.dg-metrics')?.dataset.revision; return now && now !== old; }"
        )
        self.page.wait_for_function(changed, arg=before)
        self.settled()
        return name


@pytest.fixture(scope="session")
def app(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    home = tmp_path_factory.mktemp("home")
    with serve(home) as url:
        yield App(url, home)


class serve:
    """The app on a free port, with a home folder of its own; a context manager that gives its address."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __enter__(self) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.log = (self.home / "server.log").open("wb")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "streamlit",
                "run",
                "app/main.py",
                "--server.port",
                str(port),
                "--server.headless",
                "true",
            ],
            cwd=ROOT,
            env={**os.environ, "DISCOGP_HOME": str(self.home)},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1):
                    return url
            except OSError:
                time.sleep(0.1)
        self.__exit__()
        raise RuntimeError((self.home / "server.log").read_text())

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)
        self.log.close()


@pytest.fixture
def visit(browser: Any, app: App) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1400, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(30_000)
    visiting = Visit(page, app.url)

    def asked(url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != "127.0.0.1":
            visiting.foreign.append(url)

    page.on("request", lambda request: asked(request.url))
    page.on("websocket", lambda websocket: asked(websocket.url))
    page.on("pageerror", lambda error: visiting.errors.append(str(error)))
    yield visiting
    context.close()
    assert visiting.foreign == [], "the page asked another host"
    assert visiting.errors == []
