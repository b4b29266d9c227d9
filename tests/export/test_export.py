"""Each format is opened by a program for that format, and names cannot break out of any of them."""

from __future__ import annotations

import json
import re
import struct
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import cairosvg
import networkx as nx
import numpy as np
import pytest

from discogp.circuits.circuit import Circuit
from discogp.circuits.document import circuit_from_json
from discogp.circuits.graph import ComputationGraph
from discogp.errors import ArtifactError, DiscoGPError, GraphError
from discogp.export import FORMATS, export, render
from tests.work import calls

GRAPH = ComputationGraph(4, 8)
HOSTILE = (
    "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>]]>&\"'\x00\x1b\ud800\u2028é {{7*7}} $title"
)
SVG = "{http://www.w3.org/2000/svg}"


def a_circuit(n_edges: int = 60, graph: ComputationGraph = GRAPH, **provenance) -> Circuit:
    scores = np.random.default_rng(0).normal(size=graph.n_edges).astype(np.float32)
    mask = np.zeros(graph.n_edges, dtype=bool)
    mask[np.argsort(-scores)[:n_edges]] = True
    metrics = {"full": {"accuracy": 0.98}, "circuit": {"accuracy": 0.9, "kl": 0.2}}
    return Circuit(graph, mask, scores, provenance={"model": "mini", "task": "ioi", "metrics": metrics} | provenance)


def link_titles(svg: bytes) -> set[str]:
    root = ElementTree.fromstring(svg)
    titles = [path.find(f"{SVG}title") for path in root.iter(f"{SVG}path")]
    return {str(title.text).split(",")[0] for title in titles if title is not None}


def png_size(content: bytes) -> tuple[int, int]:
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", content[16:24])


def test_svg_draws_every_edge_once() -> None:
    circuit = a_circuit()
    content = render(circuit, "svg")
    assert link_titles(content) == set(circuit.edges)
    root = ElementTree.fromstring(content)
    texts = {str(text.text) for text in root.iter(f"{SVG}text")}
    assert {"mini · ioi", "L0", "logits", "input"} <= texts
    assert any("accuracy: full model 0.980, circuit 0.900 · KL 0.2 nats" in text for text in texts)
    assert cairosvg.svg2png(bytestring=content)


def test_svg_keeps_everything_within_its_frame() -> None:
    root = ElementTree.fromstring(render(a_circuit(1000, ComputationGraph(30, 9)), "svg", max_edges=1000))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for path in root.iter(f"{SVG}path"):
        if path.find(f"{SVG}title") is not None:
            numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", path.attrib["d"])]
            # A curve lies within its control points.
            assert all(-20 <= x <= width for x in numbers[::2])
            assert all(0 <= y <= height for y in numbers[1::2])


def test_parallel_edges_are_drawn_apart() -> None:
    names = [f"input->a1.h{head}<{kind}>" for head in (0, 4) for kind in "qkv"]
    root = ElementTree.fromstring(render(Circuit.from_edges(GRAPH, names), "svg"))
    curves = [p.attrib["d"] for p in root.iter(f"{SVG}path") if p.find(f"{SVG}title") is not None]
    assert len(curves) == len(set(curves)) == 6


def test_what_is_off_is_grey_in_pictures() -> None:
    circuit = a_circuit()
    name = circuit.strongest()[0].name
    plain, off = render(circuit, "svg").decode(), render(circuit, "svg", off=[name]).decode()
    assert "off (1)" in off
    assert "off (" not in plain
    assert link_titles(off.encode()) == set(circuit.edges)


def test_pdf() -> None:
    content = render(a_circuit(), "pdf")
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")


def test_png_size_follows_the_scale() -> None:
    one, two = (png_size(render(a_circuit(), "png", scale=scale)) for scale in (1, 2))
    assert two == (2 * one[0], 2 * one[1])
    for wrong in (0, -1, 11, float("nan"), float("inf")):
        with pytest.raises(ArtifactError, match="scale"):
            render(a_circuit(), "png", scale=wrong)


class Page(HTMLParser):
    """Collects what a browser would load, and the text and the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script":
            self.scripts[-1] += data


def test_html_holds_everything_and_loads_nothing() -> None:
    circuit = a_circuit()
    text = render(circuit, "html", off=[circuit.edges[0], "m0"]).decode()
    page = Page(text)
    assert page.addresses == []
    assert "link" not in page.tags
    assert not re.search(r"@import|url\(|import\s*\(|fetch\(", text.split("<script>")[0])
    data = json.loads(page.scripts[1])
    assert data["off"] == {"edges": [circuit.edges[0]], "nodes": ["m0"]}
    assert len(data["graph"]["links"]) == 60
    assert "Content-Security-Policy" in text
    assert "0.980" in text


def test_graphml_keeps_parallel_edges_apart() -> None:
    names = ("input->a0.h1<q>", "input->a0.h1<k>", "a0.h1->m0", "m0->logits")
    scores = np.arange(GRAPH.n_edges, dtype=np.float32)
    circuit = Circuit.from_edges(GRAPH, names, edge_scores=scores)
    graph = nx.read_graphml(BytesIO(render(circuit, "graphml")), force_multigraph=True)
    edges = {key: (source, target, data) for source, target, key, data in graph.edges(keys=True, data=True)}
    assert set(edges) == set(names)
    source, target, data = edges["input->a0.h1<k>"]
    assert (source, target, data["kind"]) == ("input", "a0.h1", "k")
    assert data["score"] == scores[GRAPH.index("input->a0.h1<k>")]
    assert graph.nodes["a0.h1"]["kind"] == "head"
    assert (graph.nodes["a0.h1"]["layer"], graph.nodes["a0.h1"]["head"]) == (0, 1)
    assert set(graph.nodes) == {"input", "a0.h1", "m0", "logits"}
    assert len(graph.nodes) == 4


@pytest.mark.parametrize("n_edges", [0, 1, 60, GRAPH.n_edges])
def test_graphml_holds_the_same_edges(n_edges: int) -> None:
    circuit = a_circuit(n_edges)
    graph = nx.read_graphml(BytesIO(render(circuit, "graphml")), force_multigraph=True)
    assert {key for _, _, key in graph.edges(keys=True)} == set(circuit.edges)


def test_json_comes_back() -> None:
    circuit = a_circuit()
    loaded = circuit_from_json(render(circuit, "json"))
    assert loaded.edges == circuit.edges
    np.testing.assert_array_equal(loaded.edge_scores, circuit.edge_scores)


def test_data_formats_hold_the_circuit_that_is_left() -> None:
    circuit = a_circuit()
    off = [circuit.edges[0], circuit.strongest()[0].target]
    left = circuit.without(off).edges
    loaded = circuit_from_json(render(circuit, "json", off=off))
    assert loaded.edges == left
    assert loaded.provenance["switched_off"] == sorted(off)
    graph = nx.read_graphml(BytesIO(render(circuit, "graphml", off=off)), force_multigraph=True)
    assert {key for _, _, key in graph.edges(keys=True)} == set(left)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_empty_circuit_exports(format: str, theme) -> None:
    assert render(a_circuit(0), format, theme=theme)
    assert render(Circuit(GRAPH, np.zeros(GRAPH.n_edges, dtype=bool)), format, theme=theme)


@pytest.mark.parametrize("format", FORMATS)
def test_hostile_names_stay_text(format: str) -> None:
    circuit = a_circuit(model=HOSTILE, task=HOSTILE, metrics={HOSTILE: HOSTILE, "full": {HOSTILE: 0.5}})
    content = render(circuit, format)
    assert content
    if format == "svg":
        root = ElementTree.fromstring(content)
        assert not [e for e in root.iter() if e.tag in (f"{SVG}script", f"{SVG}img")]
        assert any("</script>" in str(text.text) for text in root.iter(f"{SVG}text"))
    if format == "html":
        page = Page(content.decode())
        assert page.tags.count("script") == 3
        assert "img" not in page.tags
        assert json.loads(page.scripts[1])["graph"]["title"].startswith("script>")
    if format == "json":
        assert circuit_from_json(content).provenance["model"] == HOSTILE


def test_the_work_of_an_export_grows_as_the_edges_do() -> None:
    graph = ComputationGraph(12, 12)
    half, circuit = a_circuit(16_000, graph), a_circuit(32_491, graph)
    for format in ("svg", "html", "json"):
        render(half, format)  # what is made once for a graph
        assert 1000 < calls(lambda f=format: render(circuit, f)) < 2.2 * calls(lambda f=format: render(half, f))
    assert len(link_titles(render(circuit, "svg", max_edges=32_491))) == 32_491


# --- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_files(tmp_path: Path, format: str) -> None:
    target = tmp_path / f"circuit.{format}"
    target.write_text("old")
    assert export(a_circuit(), format, target) == target
    assert target.stat().st_size > 100
    assert [f.name for f in tmp_path.iterdir()] == [target.name]
    assert "/" in FORMATS[format].media_type


def test_wrong_requests_say_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"'gif'.*csv, dot, edges, gexf, graphml, html, json, mib, pdf, png, svg"):
        export(a_circuit(), "gif", tmp_path / "x.gif")
    with pytest.raises(ArtifactError, match="no folder"):
        export(a_circuit(), "svg", tmp_path / "missing" / "x.svg")
    with pytest.raises(ArtifactError, match="is a folder"):
        export(a_circuit(), "svg", tmp_path)
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(ArtifactError):
            export(a_circuit(), "json", tmp_path / name)
    with pytest.raises(ArtifactError, match="theme"):
        render(a_circuit(), "svg", theme="pink")  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="max_edges"):
        render(a_circuit(), "svg", max_edges=-1)
    for format in FORMATS:
        with pytest.raises(GraphError):
            render(a_circuit(), format, off=["a99.h1"])
    assert list(tmp_path.iterdir()) == []
    assert issubclass(ArtifactError, DiscoGPError)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch) -> None:
    target = tmp_path / "circuit.svg"
    target.write_text("old")

    def refuse(*_args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("discogp.paths.os.replace", refuse)
    with pytest.raises(ArtifactError, match="Permission denied"):
        export(a_circuit(), "svg", target)
    assert target.read_text() == "old"
    assert [f.name for f in tmp_path.iterdir()] == ["circuit.svg"]
