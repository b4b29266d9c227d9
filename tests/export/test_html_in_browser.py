"""The standalone page in a real browser, from a file, without a network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from discogp.circuits.circuit import Circuit
from discogp.circuits.graph import ComputationGraph
from discogp.export import export

pytestmark = pytest.mark.browser

GRAPH = ComputationGraph(4, 8)
HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>"
GRAPH_JS = "window.__circuitGraph"


def a_circuit(n_edges: int = 60) -> Circuit:
    scores = np.random.default_rng(0).normal(size=GRAPH.n_edges).astype(np.float32)
    mask = scores >= np.sort(scores)[-n_edges] if n_edges else np.zeros(GRAPH.n_edges, dtype=bool)
    return Circuit(GRAPH, mask, scores, provenance={"model": HOSTILE, "task": HOSTILE})


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that fails the test on any error and on any request but the file itself."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            page.problems.append(request.url) if not request.url.startswith(("file:", "data:", "blob:")) else None
        ),
    )
    yield page
    assert page.problems == []
    page.close()


def wait_until(page: Any, expression: str, looks: int = 1500) -> None:
    """Poll from here: the page's own policy forbids the eval that Playwright's `wait_for_function` polls with."""
    for _ in range(looks):
        if page.evaluate(f"Boolean({expression})"):
            return
        time.sleep(0.02)
    pytest.fail(f"still not so after {looks} looks: {expression}")


def open_circuit(page: Any, folder: Path, circuit: Circuit, **options: Any) -> None:
    page.goto(export(circuit, "html", folder / "circuit.html", **options).as_uri())
    wait_until(page, f"{GRAPH_JS}?.net")


def off(page: Any) -> dict[str, list[str]]:
    return page.evaluate(f"{GRAPH_JS}.off()")


def test_clicks_grey_edges_and_nodes_and_back(page: Any, tmp_path: Path) -> None:
    open_circuit(page, tmp_path, a_circuit())
    edges = page.evaluate(f"{GRAPH_JS}.clickableEdges(5)")
    assert len(edges) == 5
    for edge in edges:
        point = page.evaluate(f"id => {GRAPH_JS}.edgePoint(id)", edge)
        page.mouse.click(point["x"], point["y"])
    assert off(page) == {"edges": edges, "nodes": []}
    point = page.evaluate(f"id => {GRAPH_JS}.edgePoint(id)", edges[0])
    # A slow click is a click.
    page.mouse.move(point["x"], point["y"])
    page.mouse.down()
    page.wait_for_timeout(500)
    page.mouse.up()
    assert off(page)["edges"] == edges[1:]
    point = page.evaluate(f"{GRAPH_JS}.nodePoint('logits')")
    page.mouse.click(point["x"], point["y"])
    assert off(page)["nodes"] == ["logits"]
    assert "logits" in page.inner_text("#off")
    assert page.evaluate("window.broken") is None


def test_a_drag_moves_and_switches_nothing(page: Any, tmp_path: Path) -> None:
    open_circuit(page, tmp_path, a_circuit())
    before = page.evaluate(f"{GRAPH_JS}.position()")
    point = page.evaluate(f"{GRAPH_JS}.edgePoint({GRAPH_JS}.clickableEdges(1)[0])")
    page.mouse.move(point["x"], point["y"])
    page.mouse.down()
    page.mouse.move(point["x"] + 90, point["y"] + 40, steps=6)
    page.mouse.up()
    assert off(page) == {"edges": [], "nodes": []}
    assert page.evaluate(f"{GRAPH_JS}.position()") != before


def test_theme_keeps_zoom_and_toggles(page: Any, tmp_path: Path) -> None:
    circuit = a_circuit()
    open_circuit(page, tmp_path, circuit, off=[circuit.edges[3]], theme="dark")
    assert page.evaluate(f"{GRAPH_JS}.theme.dark")
    page.click("[data-tool=in]")
    page.wait_for_timeout(400)
    scale = page.evaluate(f"{GRAPH_JS}.scale()")
    page.click("#theme")
    assert page.evaluate(f"{GRAPH_JS}.theme.dark") is False
    assert page.evaluate(f"{GRAPH_JS}.scale()") == scale
    assert off(page)["edges"] == [circuit.edges[3]]


def test_slider_legend_and_search(page: Any, tmp_path: Path) -> None:
    open_circuit(page, tmp_path, a_circuit(400))
    assert page.evaluate(f"{GRAPH_JS}.visible.length") == 250
    page.locator(".cg-slider input").fill("40")
    wait_until(page, f"{GRAPH_JS}.visible.length === 40")
    page.click(".cg-kind[data-kind=q]")
    kinds = page.evaluate(f"[...new Set({GRAPH_JS}.visible.map(link => link.kind))]")
    assert "q" not in kinds
    # What is hidden cannot be clicked.
    assert set(page.evaluate(f"{GRAPH_JS}.clickableEdges(1000)")) <= set(
        page.evaluate(f"{GRAPH_JS}.visible.map(link => link.id)")
    )
    page.fill(".cg-find", "logits")
    page.press(".cg-find", "Enter")
    assert page.evaluate(f"{GRAPH_JS}.pinned.node") == "logits"
    page.press(".cg-find", "Enter")
    assert off(page)["nodes"] == ["logits"]
    page.keyboard.press("Escape")
    assert page.evaluate(f"{GRAPH_JS}.pinned") is None


def test_hover_tells_and_escape_clears(page: Any, tmp_path: Path) -> None:
    open_circuit(page, tmp_path, a_circuit())
    edge = page.evaluate(f"{GRAPH_JS}.clickableEdges(1)[0]")
    point = page.evaluate(f"id => {GRAPH_JS}.edgePoint(id)", edge)
    page.mouse.move(point["x"], point["y"])
    page.wait_for_selector(".cg-tip", state="visible")
    assert "rank" in page.inner_text(".cg-tip")
    page.keyboard.press("Escape")
    page.wait_for_selector(".cg-tip", state="hidden")


def test_png_of_the_view(page: Any, tmp_path: Path) -> None:
    open_circuit(page, tmp_path, a_circuit())
    with page.expect_download() as download:
        page.click("[data-tool=png]")
    download.value.save_as(tmp_path / "view.png")
    assert (tmp_path / "view.png").read_bytes().startswith(b"\x89PNG")


def test_an_empty_circuit_says_so(page: Any, tmp_path: Path) -> None:
    open_circuit(page, tmp_path, a_circuit(0))
    assert "keeps no edges" in page.inner_text(".cg-empty")
