"""Circuits of other programs: read as they are, or refused with the reason; written as those programs read them."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from discogp.circuits.artifact import load_circuit
from discogp.circuits.circuit import Circuit
from discogp.circuits.foreign.edge_lists import edge_list
from discogp.circuits.foreign.mib import mib_document
from discogp.circuits.foreign.reading import keep, read_circuit, undecided
from discogp.circuits.graph import ComputationGraph
from discogp.errors import ArtifactError, ConfigError
from tests.places import data_folder, needs

GRAPH = ComputationGraph(12, 12)
SMALL = ComputationGraph(2, 2)
MIB = data_folder("mib_circuits") / "gpt2_ioi_eap_ig.json"


def mib(graph: ComputationGraph = SMALL, **changes) -> dict:
    edges = {e.name: {"score": ((e.index * 37) % 101 - 50) / 50, "in_graph": e.index % 5 == 0} for e in graph.edges}
    kept = [name for name, entry in edges.items() if entry["in_graph"]]
    touched = {"logits", *(n.split("->")[0] for n in kept), *(n.split("->")[1].split("<")[0] for n in kept)}
    nodes = {node.name: {"in_graph": node.name in touched} for node in graph.nodes}
    cfg = {"n_layers": graph.n_layers, "n_heads": graph.n_heads, "parallel_attn_mlp": graph.parallel, "d_model": 8}
    return {"cfg": cfg, "nodes": nodes, "edges": edges} | changes


def read(data, source: str = "c.json", graph: ComputationGraph | None = None) -> Circuit:
    content = data if isinstance(data, bytes) else data.encode() if isinstance(data, str) else json.dumps(data).encode()
    return read_circuit(content, source, graph)


def refused(data, *words: str, source: str = "c.json", graph: ComputationGraph | None = None) -> None:
    with pytest.raises(ArtifactError) as caught:
        read(data, source, graph)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    for word in words:
        assert word in text


# --- MIB / EAP-IG -----------------------------------------------------------------------------------------


@needs(MIB)
def test_the_real_circuit_of_gpt2_comes_in_and_goes_out_key_by_key(tmp_path: Path) -> None:
    theirs = json.loads(MIB.read_text())
    circuit = load_circuit(MIB)
    assert circuit.graph == GRAPH
    assert set(circuit.edges) == {name for name, entry in theirs["edges"].items() if entry["in_graph"]}
    assert circuit.n_edges == 756
    assert circuit.edge_scores is not None
    for edge in circuit.graph.edges:
        assert abs(circuit.edge_scores[edge.index] - theirs["edges"][edge.name]["score"]) < 1e-6
    ours = json.loads(mib_document(circuit, 768, {}))
    assert ours["cfg"] == theirs["cfg"]
    assert ours["nodes"] == theirs["nodes"]
    assert set(ours["edges"]) == set(theirs["edges"])
    for name, entry in theirs["edges"].items():
        assert ours["edges"][name]["in_graph"] is entry["in_graph"]
        assert abs(ours["edges"][name]["score"] - entry["score"]) < 1e-6
    (tmp_path / "again.json").write_text(json.dumps(ours))
    again = load_circuit(tmp_path / "again.json")
    np.testing.assert_array_equal(again.edge_scores, circuit.edge_scores)
    assert again.edges == circuit.edges


def test_attributions_are_ranked_by_their_size() -> None:
    circuit = read(mib())
    sizes = [abs(circuit.edge_scores[e.index]) for e in circuit.strongest()]  # type: ignore[index]
    assert sizes == sorted(sizes, reverse=True)
    assert min(circuit.edge_scores[e.index] for e in circuit.strongest(3)) < 0  # type: ignore[index]


def test_where_a_circuit_is_from_is_told() -> None:
    content = json.dumps(mib()).encode()
    origin = read_circuit(content, "some/folder/c.json").provenance["imported_from"]
    assert origin["file"] == "c.json"
    assert origin["form"] == "MIB / EAP-IG JSON"
    assert origin["sha256"] == hashlib.sha256(content).hexdigest()


def test_flags_and_scores_of_nodes_are_kept() -> None:
    document = mib()
    document["nodes"]["a1.h1"] = {"in_graph": not document["nodes"]["a1.h1"]["in_graph"], "score": 0.5}
    document["nodes"]["m1"]["score"] = float("nan")  # what EAP-IG writes for a node without a score
    back = json.loads(mib_document(read(document), 8, {}))
    del document["nodes"]["m1"]["score"]
    assert back["nodes"] == document["nodes"]


def test_a_circuit_of_our_own_keeps_its_order_under_their_ranking_and_comes_back() -> None:
    scores = np.random.default_rng(0).normal(scale=6, size=SMALL.n_edges).astype(np.float32)
    circuit = Circuit(SMALL, scores > 3, scores)
    written = json.loads(mib_document(circuit, 8, {}))
    sizes = np.array([abs(written["edges"][e.name]["score"]) for e in SMALL.edges])
    np.testing.assert_array_equal(np.argsort(-sizes), np.argsort(-scores))
    back = read(written)
    np.testing.assert_allclose(back.edge_scores, scores, atol=1e-6 * np.abs(scores).max())  # type: ignore[arg-type]
    assert back.edges == circuit.edges
    assert back.score_kind == "logit"


def test_a_circuit_without_scores_goes_out_as_flags_and_comes_back_without() -> None:
    circuit = Circuit.from_edges(SMALL, ["input->a0.h0<q>", "m1->logits"])
    written = json.loads(mib_document(circuit, 8, {}))
    assert {name for name, entry in written["edges"].items() if entry["score"]} == set(circuit.edges)
    back = read(written)
    assert back.edge_scores is None
    assert back.edges == circuit.edges


@pytest.mark.parametrize("parallel", [False, True])
def test_parallel_attention(parallel: bool) -> None:
    graph = ComputationGraph(2, 2, parallel)
    assert read(mib(graph)).graph == graph
    with pytest.raises(ArtifactError, match="side by side"):
        read(mib(graph), graph=ComputationGraph(2, 2, not parallel))


def test_norms_behind_attention_are_the_models_to_know() -> None:
    graph = ComputationGraph(2, 2, joint_heads=True)
    assert read(mib(), graph=graph).graph == graph


def test_what_is_wrong_with_a_mib_file_is_named() -> None:
    def with_edge(entry, name="input->a0.h0<q>"):
        document = mib()
        document["edges"][name] = entry
        return document

    refused(with_edge({"score": 1, "in_graph": True}, "input->a9.h0<q>"), "a9.h0<q>")
    refused(with_edge({"score": 1, "in_graph": True}, "a1.h0->m0"), "a1.h0->m0", "computed after")
    refused(with_edge({"score": "x", "in_graph": True}), "score", "input->a0.h0<q>", "x")
    refused(with_edge({"score": 10**400, "in_graph": True}), "score")
    refused(with_edge({"score": 1}), "in_graph", "input->a0.h0<q>")
    refused(with_edge({"score": None, "in_graph": False}), "has no score")
    refused(with_edge(7), "in_graph")
    refused(json.dumps(mib()).replace('"score": -1.0', '"score": NaN', 1), "score", "nan")
    refused(mib(cfg={"n_layers": 2}), "n_heads", "None")
    refused(mib(cfg={"n_layers": 2.5, "n_heads": 2}), "n_layers", "2.5")
    refused(mib(cfg={"n_layers": 1500, "n_heads": 1}), "1,500 layers", "names 46")
    refused(mib(cfg={"n_layers": 10**9, "n_heads": 10**9}), "at most")
    refused(mib(cfg=7), "cfg")
    refused(mib(cfg={"n_layers": 2, "n_heads": 2, "parallel_attn_mlp": "no"}), "parallel_attn_mlp")
    refused(mib(edges=[]), "edges")
    refused(mib(nodes={"a7.h0": {"in_graph": True}}), "a7.h0")
    neurons = mib()
    neurons["nodes"]["a0.h1"]["neurons"] = [True, False]
    refused(neurons, "a0.h1", "neurons")
    refused(mib(), "12 layers", "2 layers", graph=GRAPH)
    twice = json.dumps(mib())
    refused(twice.replace('"input->a0.h0<k>"', '"input->a0.h0<q>"', 1), "twice")


# --- what is no circuit -----------------------------------------------------------------------------------


def test_a_pickle_is_refused_with_the_way_out(tmp_path: Path) -> None:
    target = tmp_path / "graph.pt"
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"cfg": {}}))
    with pytest.raises(ArtifactError, match=r"graph\.pt is a pickle .*runs whatever code.*to_json"):
        load_circuit(target)
    refused(pickle.dumps({"cfg": {}}, protocol=4), "pickle", source="edges.pkl")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n\t",
        b"\xef\xbb\xbf",
        b"\xff\xfe{\x00",
        b"\x80abc",
        b"caf\xe9",
        b"\x1f\x8b\x08abc",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[]",
        b"{}",
        b"[1, 2]",
        b'{"input->a0.h0<q>": [1]}',
        b'{"cfg": {}, "edges": {}}',
        b'{"n": ' + b"9" * 6000 + b"}",
        b"hello world",
        b"\x00" * 50,
        b"edge,score\n",
        b"# only a comment\n",
        b"-> -> ->",
        b"input->\n",
        b"hook_ hook_ hook_",
        b"blocks.0.hook_mlp_out",
        b"input->a0.h0<q>,1,2,3,4,,,",
        b"x" * 100_000,
        b"m0->logits" + b"1" * 1500,
    ],
)
@pytest.mark.parametrize("name", ["c.json", "c.txt"])
def test_damage_is_one_line(content: bytes, name: str) -> None:
    refused(content, source=name, graph=SMALL)


def test_a_large_file_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("discogp.circuits.foreign.reading.MAX_JSON_BYTES", 100)
    refused(mib(), "bytes")


# --- lists of edges ---------------------------------------------------------------------------------------

LISTED = ("input->a0.h0<q>", "a0.h1->m1", "m1->logits")


@pytest.mark.parametrize(
    "text",
    [
        "input->a0.h0<q>\na0.h1->m1\nm1->logits\n",
        "# a comment\n\n input -> a0.h0<q>\r\n a0.h1 -> m1\r\nm1 -> logits",
        '"input->a0.h0<q>"\n"a0.h1->m1"\n\'m1->logits\'',
        "edge\ninput→a0.h0<q>\na0.h1 --> m1\nlogits <- m1",
        "source,target\ninput,a0.h0<q>\na0.h1,m1\nm1,logits",
        "target;source\na0.h0.q;input\nm1;a0.h1\nlogits;m1",
        "source\ttarget\tqkv\ninput\ta0.h0\tq\na0.h1\tm1\t\nm1\tlogits\t",
        "INPUT->A0.H0<Q>\nA0.H1->M1\nM1->LOGITS",
        "input-&gt;a0.h0&lt;q&gt;\na0.h1-&gt;m1\nm1-&gt;logits",
        "Resid Start->A0.0.Q\nA0.1->MLP 1\nMLP 1->Resid End",
        "Resid Start->A0.0.Q\nA0.1 -> mlp 1\nm1->Resid End",
        "embeds->a0.h0.q\na0.h1->m1\nm1->resid_post",
        json.dumps(list(LISTED)),
        json.dumps([["embeds", "a0.h0.q"], ["a0.h1", "m1"], ["m1", "resid_post"]]),
        json.dumps([{"source": "input", "target": "a0.h0<q>"}, {"edge": "a0.h1->m1"}, {"name": "m1->logits"}]),
        json.dumps(dict.fromkeys(LISTED)),
    ],
)
def test_lists_without_scores(text: str) -> None:
    circuit = read(text, "list", SMALL)
    assert set(circuit.edges) == set(LISTED)
    assert circuit.edge_scores is None


@pytest.mark.parametrize(
    "text",
    [
        "input->a0.h0<q> 3\na0.h1->m1 -2.5e-1\nm1->logits .5",
        "input->a0.h0<q>\t3\na0.h1->m1\t-0.25\nm1->logits\t0.5",
        "edge, score\ninput->a0.h0<q>, 3\na0.h1->m1, -0.25\nm1->logits, 0.5",
        "edge_id;score;in_graph\ninput->a0.h0<q>;3;True\na0.h1->m1;-0.25;1\nm1->logits;0.5;yes\na0.h0->m0;-9;false",
        "score,source,target\n3,input,a0.h0<q>\n-0.25,a0.h1,m1\n0.5,m1,logits",
        json.dumps(dict(zip(LISTED, (3, -0.25, 0.5), strict=True))),
        json.dumps([[name, score] for name, score in zip(LISTED, (3, -0.25, 0.5), strict=True)]),
    ],
)
def test_lists_with_scores(text: str) -> None:
    circuit = read(text, "list", SMALL)
    assert {e.name: circuit.edge_scores[e.index] for e in circuit.strongest()} == dict(  # type: ignore[index]
        zip(LISTED, (3, -0.25, 0.5), strict=True)
    )


def test_what_is_wrong_with_a_list_is_named_with_its_line() -> None:
    def of(text: str, *words: str) -> None:
        refused(text, *words, source="edges.txt", graph=SMALL)

    of("input->a0.h0<q>\nnonsense", "line 2", "nonsense")
    of("input->a0.h0", "line 1", "a0.h0")
    of("a1.h0->m0", "line 1", "computed after")
    of("input->a5.h0<q>", "a5.h0<q>")
    of("m0->logits\n\nm0->logits", "line 3", "line 1")
    of("m0->logits 1\nm1->logits", "line 2", "no score")
    of("m0->logits,nan", "nan", "finite")
    of("m0->logits,1e999", "finite")
    of("m0->logits,much", "much")
    of("edge,score,in_graph\nm0->logits,1,perhaps", "perhaps")
    of("m0->logits,1" + " " * 3000 + "x", "line 1")
    refused("m0->logits", "edges.txt", "does not say how many layers", "--model", source="edges.txt")


@pytest.mark.parametrize("separator", ["\t", ","])
@pytest.mark.parametrize("scored", [True, False])
def test_our_own_lists_come_back_without_a_model(separator: str, scored: bool) -> None:
    graph = ComputationGraph(3, 2, parallel=True, joint_heads=True)
    scores = np.random.default_rng(1).normal(size=graph.n_edges).astype(np.float32) if scored else None
    mask = np.arange(graph.n_edges) % 7 == 0
    circuit = Circuit(graph, mask, scores)
    text = edge_list(circuit, ["model: mini\nwith a line break", "→ é"], separator=separator)
    back = read(text, "list.txt")
    assert back.graph == graph
    assert back.edges == circuit.edges
    assert (back.edge_scores is None) is not scored
    if scored:
        np.testing.assert_array_equal(back.edge_scores[mask], scores[mask])  # type: ignore[index]
        assert back.edge_scores[~mask].max() <= back.edge_scores[mask].min()  # type: ignore[index]


def test_a_comment_with_a_nonsensical_shape_is_refused() -> None:
    for shape in ("0 layers, 2 heads", "9999 layers, 9999 heads", "1500 layers, 1 heads", "many layers"):
        refused(f"# graph: {shape}\nm0->logits", "comment", source="e.txt")


# --- ACDC -------------------------------------------------------------------------------------------------

HOOKS = {
    "a3.h5->a7.h2<q>": ("blocks.3.attn.hook_result[:, :, 5]", "blocks.7.hook_q_input[:, :, 2]"),
    "m2->a7.h2<v>": ("blocks.2.hook_mlp_out[:]", "blocks.7.hook_v_input[:, :, 2]"),
    "input->a0.h11<k>": ("blocks.0.hook_resid_pre[:]", "blocks.0.hook_k_input[:, :, 11]"),
    "input->m0": ("hook_embed[:]", "blocks.0.hook_mlp_in[:]"),
    "a9.h9->m10": ("blocks.9.attn.hook_result[:, :, 9]", "blocks.10.hook_resid_mid[:]"),
    "m11->logits": ("blocks.11.hook_mlp_out[:]", "blocks.11.hook_resid_post[:]"),
}


def spellings(source: str, reader: str) -> list[str]:
    """One edge as it is found in people's files: both orders, tuples, printed objects, tight and loose indices."""

    def parts(hook: str) -> tuple[str, str]:
        name, _, index = hook.partition("[")
        return name, f"[{index}"

    (s, i), (r, j) = parts(source), parts(reader)
    return [
        f"{source} -> {reader}",
        f"{reader}{source}",
        f"{reader} <- {source}",
        f"('{r}', {j}, '{s}', {i})",
        f"('{r}', TorchIndex({j.replace(':', 'None')}), '{s}', TorchIndex({i.replace(':', 'None')}))",
        f"{source.replace(' ', '')},{reader.replace(' ', '')}",
        f"{reader.replace(':', 'COLON')} {source.replace(':', 'COL')}",
        f"({r!r}, {j}, {s!r}, {i}): Edge(EdgeType.ADDITION, True)",
        f"{s}{i[:-1]}, :] | {r}{j[:-1]}, :]" if "," in i and "," in j else f"{source};{reader}",
    ]


@pytest.mark.parametrize("name", HOOKS)
def test_acdcs_hooks_are_translated(name: str) -> None:
    for line in spellings(*HOOKS[name]):
        circuit = read(line, "acdc.txt", GRAPH)
        assert circuit.edges == (name,), line
        assert circuit.provenance["imported_from"]["form"] == "ACDC's hooks"
        scored = (
            read(f"{line}, -0.25", "acdc.txt", GRAPH) if "Edge(" not in line else read(f"-0.25\t{line}", "a", GRAPH)
        )
        assert scored.edge_scores is not None, line
        assert scored.edge_scores[GRAPH.index(name)] == -0.25
        assert scored.score_kind == "attribution"


def test_acdcs_hooks_as_json() -> None:
    pairs = list(HOOKS.values())
    assert set(read(pairs, "c.json", GRAPH).edges) == set(HOOKS)
    assert set(read([f"{reader}{source}" for source, reader in pairs], "c.json", GRAPH).edges) == set(HOOKS)


def test_what_acdc_lists_within_a_component_is_left_out_and_counted() -> None:
    text = "\n".join(
        [
            *(f"{s} -> {r}" for s, r in HOOKS.values()),
            "blocks.3.attn.hook_q[:, :, 5] blocks.3.hook_q_input[:, :, 5]",
            "blocks.3.attn.hook_result[:, :, 5] blocks.3.attn.hook_q[:, :, 5]",
            "blocks.2.hook_mlp_out[:] blocks.2.hook_mlp_in[:]",
        ]
    )
    circuit = read(text, "acdc.txt", GRAPH)
    assert set(circuit.edges) == set(HOOKS)
    assert circuit.provenance["imported_from"]["left_out"].startswith("3 edges within")


def test_an_edge_that_acdc_has_cut_is_not_kept() -> None:
    source, reader = HOOKS["m2->a7.h2<v>"]
    kept = "blocks.0.hook_mlp_in[:]hook_embed[:]: Edge(EdgeType.ADDITION, True)"
    text = f"{reader} {source}: Edge(EdgeType.ADDITION, False)\n{kept}"
    assert read(text, "acdc.txt", GRAPH).edges == ("input->m0",)


def test_the_two_embeddings_are_one_input_or_refused() -> None:
    both = "hook_embed[:] -> blocks.0.hook_mlp_in[:]\nhook_pos_embed[:] -> blocks.0.hook_mlp_in[:]"
    assert read(both, "a.txt", GRAPH).edges == ("input->m0",)
    alone = both + "\nhook_pos_embed[:] -> blocks.1.hook_mlp_in[:]"
    refused(alone, "hook_pos_embed", "input->m1", "line 3", source="a.txt", graph=GRAPH)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("blocks.3.hook_attn_out[:] blocks.7.hook_q_input[:, :, 2]", "blocks.3.hook_attn_out[:]"),
        ("blocks.3.attn.hook_z[:, :, 2] blocks.7.hook_q_input[:, :, 2]", "blocks.3.attn.hook_z"),
        ("blocks.3.hook_resid_pre[:] blocks.7.hook_q_input[:, :, 2]", "blocks.3.hook_resid_pre"),
        ("blocks.3.hook_mlp_out[:] blocks.7.hook_resid_post[:]", "blocks.7.hook_resid_post"),
        ("blocks.3.attn.hook_result[:] blocks.7.hook_mlp_in[:]", "all heads of layer 3"),
        ("blocks.3.attn.hook_result[:, 4, 5] blocks.7.hook_mlp_in[:]", "positions"),
        ("blocks.3.hook_mlp_out[:, :, 5] blocks.7.hook_mlp_in[:]", "blocks.3.hook_mlp_out[:, :, 5]"),
        ("blocks.3.hook_mlp_out[:] blocks.7.hook_mlp_out[:]", "both write"),
        ("blocks.3.hook_mlp_in[:] blocks.7.hook_mlp_in[:]", "both read"),
        ("blocks.3.hook_mlp_out[:]", "names 1 hooks"),
        ("blocks.3.hook_mlp_out[:] blocks.7.hook_mlp_in[:] blocks.8.hook_mlp_in[:]", "names 3 hooks"),
        ("blocks.8.hook_mlp_out[:] blocks.7.hook_mlp_in[:]", "computed after"),
        ("blocks.30.hook_mlp_out[:] blocks.7.hook_mlp_in[:]", "m30"),
        ("blocks.3.hook_mlp_out[:] blocks.7.hook_mlp_in[:] 1 2", "more than one number"),
        ("blocks.3.hook_mlp_out[:] blocks.7.hook_mlp_in[:] strong", "strong"),
        ("ln_final.hook_normalized[:] blocks.7.hook_mlp_in[:]", "hook_normalized"),
    ],
)
def test_hooks_without_an_equivalent_are_refused_by_name(line: str, named: str) -> None:
    refused(line, "line 1", named, source="acdc.txt", graph=GRAPH)


# --- which edges ------------------------------------------------------------------------------------------


def test_the_strongest_are_kept_by_size_for_attributions_and_by_value_for_logits() -> None:
    scores = np.linspace(-2, 1, SMALL.n_edges).astype(np.float32)
    logits = Circuit(SMALL, np.zeros(SMALL.n_edges, dtype=bool), scores)
    attributions = Circuit(SMALL, logits.edge_mask, scores, provenance={"score_kind": "attribution"})
    order = np.argsort(-scores, kind="stable")
    assert set(np.flatnonzero(keep(logits, n_edges=4).edge_mask)) == set(order[:4])
    assert set(np.flatnonzero(keep(attributions, n_edges=4).edge_mask)) == set(order[-4:])
    assert set(np.flatnonzero(keep(logits, threshold=0.5).edge_mask)) == set(np.flatnonzero(scores >= 0.5))
    assert set(np.flatnonzero(keep(attributions, threshold=1.5).edge_mask)) == set(np.flatnonzero(abs(scores) >= 1.5))
    assert keep(attributions, n_edges=4).provenance["imported_from"]["chosen_by"] == {"edges": 4}
    for wrong in ({"n_edges": 0}, {"n_edges": 10**9}, {"threshold": float("nan")}, {"n_edges": 3, "threshold": 1.0}):
        with pytest.raises(ConfigError):
            keep(logits, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no scores"):
        keep(Circuit.full(SMALL), n_edges=3)


def test_a_file_of_scores_alone_is_undecided() -> None:
    document = mib()
    assert undecided(read(document)) is None
    for entry in document["edges"].values():
        entry["in_graph"] = False
    assert "none of its edges" in str(undecided(read(document)))
    everything = "\n".join(f"{e.name} {e.index}" for e in SMALL.edges)
    assert "every edge" in str(undecided(read(everything, "all.txt", SMALL)))
