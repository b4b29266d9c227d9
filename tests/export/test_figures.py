"""An export carries the figures of the circuit it shows, says what it is of, and how to make it again."""

from __future__ import annotations

import ast
import json
import re
import shlex
import xml.etree.ElementTree as ElementTree
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from io import BytesIO

import networkx as nx
import numpy as np
import pytest

from discogp.circuits.artifact import load_circuit
from discogp.circuits.circuit import Circuit
from discogp.circuits.describe import PART_LABELS
from discogp.circuits.document import circuit_from_json
from discogp.circuits.foreign.reading import read_circuit
from discogp.circuits.graph import ComputationGraph
from discogp.cli import main
from discogp.drawing.view import WIDTHS, Widths
from discogp.engine.masked_transformer import load_model
from discogp.errors import ArtifactError, GraphError
from discogp.evaluation.session import AblationSession
from discogp.export import FORMATS, Measured, render
from discogp.paths import assets
from discogp.prompts.prepare import restore
from tests.places import ROOT

SVG = "{http://www.w3.org/2000/svg}"
GEXF = "{http://gexf.net/1.3}"
EXAMPLE = assets() / "examples" / "mini-ioi-edges"
# No two figures are the same, so that a wrong one can be told.
FULL = {"accuracy": 0.991, "top1": 0.981, "kl": 0.0, "logit_diff": 12.5, "n": 200}
WHOLE = {"accuracy": 0.951, "top1": 0.941, "kl": 0.25, "logit_diff": 10.5, "n": 200}
REST = {"accuracy": 0.511, "top1": 0.011, "kl": 5.5, "logit_diff": -0.001, "n": 200}
LEFT = {"accuracy": 0.777, "top1": 0.666, "kl": 1.75, "logit_diff": 3.5, "n": 200}
MEASURED = Measured(FULL, WHOLE, REST)
EDITED = replace(MEASURED, edited=LEFT)
TEXTS = sorted(set(FORMATS) - {"png", "pdf"})  # the two are the SVG, drawn


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    made = load_circuit(EXAMPLE)
    metrics = {**WHOLE, "full": FULL, "circuit": WHOLE, "complement": REST}
    return replace(made, provenance={**made.provenance, "metrics": metrics, "created": "2026-02-03T04:05:06+00:00"})


def shown(content: bytes) -> str:
    """All that a text format says, escapes of XML undone."""
    return unescape(content.decode())


def lines_of(svg: bytes) -> list[str]:
    return [str(text.text) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


# --- whose figures ----------------------------------------------------------------------------------------


def test_a_picture_of_an_edit_shows_the_edits_figures_and_the_originals_under_their_name(circuit: Circuit) -> None:
    lines = lines_of(render(circuit, "svg", off=circuit.edges[:3], measured=EDITED))
    assert lines[0] == "mini · ioi · edited"
    assert "3 edges off, 35 of the original's 38 left" in lines[1]
    (own,) = [line for line in lines if "edited circuit 0.777" in line]
    assert "KL 1.75 nats" in own
    assert "0.951" not in own
    (original,) = [line for line in lines if "original circuit, nothing off 0.951" in line]
    assert "complement of the original 0.511" in original
    assert "KL 0.25 nats" in original
    assert lines[-1].endswith("--score")  # without which the command would give an export without figures
    assert not [line for line in lines if re.search(r"(?<!edited )(?<!original )circuit 0\.", line)]


@pytest.mark.parametrize("measured", [None, MEASURED])
def test_unknown_figures_of_an_edit_are_said_to_be_unknown(circuit: Circuit, measured: Measured | None) -> None:
    lines = lines_of(render(circuit, "svg", off=circuit.edges[:3], measured=measured))
    assert "not computed" in lines[1]
    assert not [line for line in lines if "edited circuit" in line]
    assert [line for line in lines if "original circuit, nothing off 0.951" in line]
    for format in TEXTS:
        text = shown(render(circuit, format, off=circuit.edges[:3], measured=measured))
        assert "figures of what is left: not computed" in text, format


def test_the_page_of_an_edit(circuit: Circuit) -> None:
    text = render(circuit, "html", off=circuit.edges[:3], measured=EDITED).decode()
    rows = dict(re.findall(r"<tr><th>([^<]+)</th>((?:<td>[^<]*</td>)+)</tr>", text))
    assert set(rows) == {PART_LABELS[p] for p in ("edited", "full", "original", "original_complement")}
    assert "0.777" in rows[PART_LABELS["edited"]]
    assert "0.951" in rows[PART_LABELS["original"]]
    assert "-0.001" in rows[PART_LABELS["original_complement"]]


def test_json_of_an_edit_holds_the_edits_figures(circuit: Circuit) -> None:
    made = circuit_from_json(render(circuit, "json", off=circuit.edges[:3], measured=EDITED)).provenance
    assert made["metrics"]["circuit"] == made["metrics"]["circuit"] | LEFT
    assert made["metrics"]["accuracy"] == LEFT["accuracy"]
    assert made["metrics"]["full"] == FULL
    assert "complement" not in made["metrics"]
    assert made["original"]["metrics"]["circuit"] == WHOLE
    assert made["original"]["n_edges"] == 38
    unknown = circuit_from_json(render(circuit, "json", off=circuit.edges[:3])).provenance
    assert "metrics" not in unknown
    assert "not computed" in unknown["metrics_note"]
    assert unknown["original"]["metrics"] == circuit.provenance["metrics"]


def test_an_edit_that_was_saved_and_opened_shows_no_figures_of_the_original(circuit: Circuit) -> None:
    again = circuit_from_json(render(circuit, "json", off=circuit.edges[:3]))
    text = "\n".join(lines_of(render(again, "svg")))
    assert "0.951" not in text
    assert "figures not computed" in text
    assert "edited before it was saved" in text
    known = circuit_from_json(render(circuit, "json", off=circuit.edges[:3], measured=EDITED))
    assert "circuit 0.777" in "\n".join(lines_of(render(known, "svg")))


def test_without_an_edit_the_figures_are_those_saved_or_those_just_computed(circuit: Circuit) -> None:
    assert any("circuit 0.951, complement 0.511" in line for line in lines_of(render(circuit, "svg")))
    bare = replace(circuit, provenance={"model": "mini"})
    assert not any("accuracy" in line for line in lines_of(render(bare, "svg")))
    computed = render(bare, "svg", measured=MEASURED)
    assert any("circuit 0.951, complement 0.511" in line for line in lines_of(computed))
    assert circuit_from_json(render(bare, "json", measured=MEASURED)).provenance["metrics"]["circuit"] == WHOLE


@pytest.mark.parametrize("format", TEXTS)
def test_every_export_says_what_it_is_of(circuit: Circuit, format: str) -> None:
    text = shown(render(circuit, format, source="circuits/my ioi", theme="dark"))
    today = datetime.now(UTC).date().isoformat()
    for word in ("mini", "ioi", "200 prompts of the test split", "zero", "2026-02-03", today, "DiscoGP Explorer"):
        assert word in text, (format, word)
    assert f"python -m discogp export 'circuits/my ioi' --format {format} --out circuit." in text
    assert "--theme dark" in text


def test_a_circuit_without_figures_says_so() -> None:
    bare = Circuit.from_edges(ComputationGraph(2, 2), ["m0->logits"])
    for format in TEXTS:
        text = shown(render(bare, format))
        assert "not computed" in text
        assert "unknown" in text


def test_the_command_of_an_export_makes_it_again(circuit: Circuit, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    off = [*circuit.edges[:2], "m1"]
    first = render(load_circuit(EXAMPLE), "svg", off=off, theme="dark", max_edges=20, source=str(EXAMPLE))
    (said,) = [note for note in ElementTree.fromstring(first).find(f"{SVG}desc").text.splitlines() if "again" in note]  # type: ignore[union-attr]
    words = shlex.split(said.removeprefix("again: "))
    assert words[:3] == ["python", "-m", "discogp"]
    assert main(words[3:]) == 0
    assert (tmp_path / "circuit.svg").read_bytes() == first


@pytest.mark.parametrize("name", ["estimate", "effect"])
def test_a_picture_says_what_its_widths_show_and_how_to_make_it_again(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    model, circuit = load_model("mini"), load_circuit(EXAMPLE)
    session = AblationSession(model, circuit, restore(model, circuit.provenance).test)
    found = session.first_order().by_name if name == "estimate" else {
        effect.edge: effect.logit_diff for effect in session.leave_one_out().effects
    }  # fmt: skip
    first = render(circuit, "svg", source=str(EXAMPLE), widths=Widths.of(circuit.graph, found, name))
    desc = ElementTree.fromstring(first).find(f"{SVG}desc").text.splitlines()  # type: ignore[union-attr]
    assert f"line width: {WIDTHS[name]}" in desc
    (said,) = [note for note in desc if "again" in note]
    assert main(shlex.split(said.removeprefix("again: "))[3:]) == 0
    assert (tmp_path / "circuit.svg").read_bytes() == first
    strongest = max(found, key=lambda edge: abs(found[edge]))
    paths = {str(path.findtext(f"{SVG}title")): path for path in ElementTree.fromstring(first).iter(f"{SVG}path")}
    data = render(circuit, "json", source=str(EXAMPLE), widths=Widths.of(circuit.graph, found, name)).decode()
    assert "--widths" not in data, "data have no lines"
    (told,) = [title for title in paths if title.endswith("rank 1")]
    assert told.startswith(f"{strongest}, score")
    assert f"{WIDTHS[name]} {found[strongest]:.4g}, rank" in told
    widths = [float(path.get("stroke-width", 0)) for title, path in paths.items() if "rank" in title]
    assert float(paths[told].get("stroke-width", 0)) == max(widths) > 2 * min(widths)


def test_data_has_no_widths(tmp_path, capsys) -> None:
    assert (
        main(["export", str(EXAMPLE), "--format", "json", "--out", str(tmp_path / "c.json"), "--widths", "effect"]) == 1
    )
    assert "a json has none" in capsys.readouterr().err


def test_the_command_line_scores_what_is_left(tmp_path, capsys) -> None:
    circuit = load_circuit(EXAMPLE)
    names = ",".join(e.name for e in circuit.strongest(3))
    options = ["export", str(EXAMPLE), "--format", "json", "--out", str(tmp_path / "c.json"), "--off", names]
    assert main(options) == 0
    assert "not computed" in capsys.readouterr().err
    assert main([*options, "--score"]) == 0
    assert capsys.readouterr().err == ""
    scored = circuit_from_json((tmp_path / "c.json").read_bytes())
    # Independently: the circuit that is left, scored as any circuit is.
    left = tmp_path / "left.json"
    left.write_bytes((tmp_path / "c.json").read_bytes())
    assert main(["evaluate", str(left), "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    for name in ("accuracy", "top1", "kl", "logit_diff"):
        assert scored.provenance["metrics"][name] == pytest.approx(evaluated[name], abs=1e-4)
    assert scored.provenance["metrics"]["kl"] != circuit.provenance["metrics"]["kl"]
    assert main([*options[:-1], "a77.h1"]) == 1
    assert "a77.h1" in capsys.readouterr().err


def test_figures_of_an_unknown_number_of_prompts(circuit: Circuit) -> None:
    old = replace(circuit, provenance={"metrics": {"circuit": {"accuracy": 0.5}}})
    assert "an unknown number of prompts of the test split" in render(old, "svg").decode()


@pytest.mark.parametrize("value", [5, "x" * 5000, [[]], {"circuit": 5, "file": {}}, None, -1.5])
def test_nonsense_in_the_provenance_of_a_strangers_file_is_no_crash(circuit: Circuit, value) -> None:
    keys = ("model", "task", "metrics", "split", "created", "imported_from", "switched_off", "d_model", "score_kind")
    strange = replace(circuit, provenance=dict.fromkeys(keys, value))
    for format in TEXTS:
        # A document that could not be opened again is not written.
        unsound = format == "json" and value is not None
        with pytest.raises(ArtifactError, match="cannot be read") if unsound else nullcontext():
            assert render(strange, format)
            assert render(strange, format, off=circuit.edges[:2], measured=EDITED)


# --- numbers ----------------------------------------------------------------------------------------------


def test_no_negative_zero(circuit: Circuit) -> None:
    tiny = dict.fromkeys(("accuracy", "top1", "kl", "logit_diff"), -1e-7) | {"n": 200}
    measured = Measured(tiny, tiny, tiny, edited=tiny)
    for format in ("svg", "html"):
        for off in ((), circuit.edges[:1]):
            text = render(circuit, format, off=off, measured=measured).decode()
            assert not re.search(r"[>\s][-−]0(\.0+)?[<,\s%]", text.partition("<script")[0])


def test_figures_are_formatted_so_that_there_is_none() -> None:
    """Of a difference, a KL or any other figure that can be below 0: the `z` in its format."""
    names = {"kl", "logit_diff", "change", "accuracy", "score"}
    for path in [*(ROOT / "app").rglob("*.py"), *(ROOT / "discogp" / "cli").rglob("*.py"), *_drawing()]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
                form = "".join(str(part.value) for part in node.format_spec.values if isinstance(part, ast.Constant))  # type: ignore[attr-defined]
                said = ast.unparse(node.value)
                if re.search(r"\.\d[fg]", form) and any(re.search(rf"\b{name}\b", said) for name in names):
                    assert "z" in form or "abs(" in said or "row.kl" in said, f"{path.name}: {{{said}:{form}}}"


def _drawing() -> list:
    return [ROOT / "discogp" / "drawing" / name for name in ("svg.py", "standalone.py")]


# --- graphs for other programs ----------------------------------------------------------------------------


def test_graphml_has_labels_that_gephi_and_yed_show(circuit: Circuit) -> None:
    content = render(circuit, "graphml")
    root = ElementTree.fromstring(content)
    space = "{http://graphml.graphdrawing.org/xmlns}"
    keys = {key.get("id"): key for key in root.iter(f"{space}key")}
    assert not {"d3", "d6"} & set(keys)  # Gephi would take them for labels
    for target, names in (("node", set(nx.MultiDiGraph(circuit.to_networkx()).nodes)), ("edge", set(circuit.edges))):
        (label,) = [k for k, key in keys.items() if (key.get("for"), key.get("attr.name")) == (target, "label")]
        assert keys[label].get("attr.type") == "string"
        elements = list(root.iter(f"{space}{target}"))
        assert {e.get("id") for e in elements} == names
        for element in elements:
            (data,) = [d for d in element.findall(f"{space}data") if d.get("key") == label]
            assert data.text == element.get("id")
            (drawn,) = element.iter(f"{{http://www.yworks.com/xml/graphml}}{target.capitalize()}Label")
            assert drawn.text == element.get("id")


def test_graphml_comes_back_as_the_circuit(circuit: Circuit) -> None:
    graph = nx.read_graphml(BytesIO(render(circuit, "graphml")), force_multigraph=True)
    back = Circuit.from_networkx(graph)
    assert back.edges == circuit.edges
    assert back.graph == circuit.graph
    np.testing.assert_array_equal(back.edge_scores[back.edge_mask], circuit.edge_scores[circuit.edge_mask])  # type: ignore[index]
    assert all(isinstance(data["x"], float) for _, data in graph.nodes(data=True))


def test_gexf(circuit: Circuit) -> None:
    content = render(circuit, "gexf")
    root = ElementTree.fromstring(content)
    edges = list(root.iter(f"{GEXF}edge"))
    assert {edge.get("id") for edge in edges} == {edge.get("label") for edge in edges} == set(circuit.edges)
    titles = {a.get("id"): a.get("title") for a in root.iter(f"{GEXF}attribute")}
    for edge in edges:
        found = circuit.graph.edge(str(edge.get("id")))
        values = {titles[v.get("for")]: v.get("value") for v in edge.iter(f"{GEXF}attvalue")}
        assert (edge.get("source"), edge.get("target")) == (found.source, found.target)
        assert float(str(values["score"])) == pytest.approx(circuit.edge_scores[found.index])  # type: ignore[index]
        assert float(str(edge.get("weight"))) >= 0
    nodes = {node.get("id"): node.get("label") for node in root.iter(f"{GEXF}node")}
    assert all(name == label for name, label in nodes.items())


_TOKEN = re.compile(r'\s*(?:(//[^\n]*)|("(?:[^"\\]|\\.)*")|(->|[{}\[\];,=])|([\w.]+))')


def dot_of(text: str) -> tuple[dict[str, dict[str, str]], list[tuple[str, str, dict[str, str]]], str]:
    """(nodes, edges, comments) of a DOT text, by its grammar and not by lines."""
    tokens, comments, at = [], [], 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        assert found, text[at : at + 60]
        at = found.end()
        if found[1]:
            comments.append(found[1])
        elif found[2]:
            tokens.append(("id", re.sub(r"\\(.)", r"\1", found[2][1:-1])))
        else:
            tokens.append(("op" if found[3] else "word", found[3] or found[4]))
    nodes: dict[str, dict[str, str]] = {}
    edges: list[tuple[str, str, dict[str, str]]] = []
    i = 0
    while i < len(tokens):
        if tokens[i][0] == "id" and tokens[i + 1][1] in ("->", "["):
            ends = [tokens[i][1]]
            i += 1
            while tokens[i][1] == "->":
                ends.append(tokens[i + 1][1])
                i += 2
            close = next(n for n in range(i, len(tokens)) if tokens[n] == ("op", "]"))
            inner = [token for token in tokens[i + 1 : close] if token != ("op", ",")]
            values = {inner[n][1]: inner[n + 2][1] for n in range(0, len(inner), 3)}
            if len(ends) == 1:
                nodes[ends[0]] = values
            else:
                edges.append((ends[0], ends[1], values))
            i = close
        i += 1
    return nodes, edges, "\n".join(comments)


def test_dot(circuit: Circuit) -> None:
    nodes, edges, comments = dot_of(render(circuit, "dot").decode())
    assert {values["id"] for *_, values in edges} == set(circuit.edges)
    for source, target, values in edges:
        found = circuit.graph.edge(values["id"])
        assert (source, target) == (found.source, found.target)
        assert float(values["score"]) == pytest.approx(circuit.edge_scores[found.index])  # type: ignore[index]
    assert all(values["label"] == name for name, values in nodes.items())
    assert {name for source, target, _ in edges for name in (source, target)} == set(nodes)
    assert "200 prompts" in comments


def test_names_cannot_break_out_of_dot_and_lists() -> None:
    hostile = 'x"]; evil -> b;\n// \\" } \x00'
    circuit = Circuit.from_edges(ComputationGraph(2, 2), ["m0->logits"], provenance={"model": hostile, "task": "a\nb"})
    nodes, edges, _ = dot_of(render(circuit, "dot").decode())
    assert set(nodes) == {"m0", "logits"}
    assert len(edges) == 1
    for format in ("edges", "csv"):
        assert read_circuit(render(circuit, format), f"c.{format}").edges == ("m0->logits",)


@pytest.mark.parametrize("format", ["mib", "edges", "csv", "json"])
def test_what_can_be_read_back_is_the_circuit_that_is_left(circuit: Circuit, format: str) -> None:
    off = [*circuit.edges[:2], "m1"]
    content = render(circuit, format, off=off)
    back = read_circuit(content, f"c.{FORMATS[format].suffix}")
    assert back.edges == circuit.without(off).edges
    assert back.graph == circuit.graph
    with pytest.raises(GraphError):
        render(circuit, format, off=["a99.h1"])


def test_mib_says_how_wide_the_model_is(circuit: Circuit) -> None:
    assert json.loads(render(circuit, "mib"))["cfg"] == {
        "n_layers": 4, "n_heads": 8, "parallel_attn_mlp": False, "d_model": 256,
    }  # fmt: skip
    unknown = json.loads(render(replace(circuit, provenance={"model": "/somewhere"}), "mib"))
    assert "unknown" in unknown["discogp"]["d_model"]
