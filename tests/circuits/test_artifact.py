"""Circuits survive the way to disk and back; whatever is broken is refused with a reason."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from discogp.circuits import artifact, document
from discogp.circuits.artifact import load_circuit, save_circuit
from discogp.circuits.circuit import Circuit
from discogp.circuits.document import circuit_from_json, circuit_to_json
from discogp.circuits.graph import ComputationGraph
from discogp.errors import ArtifactError, DiscoGPError

GRAPH = ComputationGraph(2, 2)


def a_circuit(**changes) -> Circuit:
    random = np.random.default_rng(0)
    scores = random.normal(size=GRAPH.n_edges).astype(np.float32)
    masks = {"a0.q": random.random((2, 5, 3)) > 0.5, "m1.out.bias": random.random(7) > 0.5}
    provenance = {"model": "mini", "task": "ioi", "seed": 3, "metrics": {"circuit": {"accuracy": 0.5}}}
    parts = {
        "edge_scores": scores,
        "weight_masks": masks,
        "ablation": "mean",
        "searched": "both",
        "provenance": provenance,
    }
    return Circuit(GRAPH, scores > 0, **(parts | changes))


def assert_same(left: Circuit, right: Circuit) -> None:
    assert left.graph == right.graph
    assert left.edges == right.edges
    assert (left.ablation, left.searched) == (right.ablation, right.searched)
    assert dict(left.provenance) == dict(right.provenance)
    for a, b in ((left.edge_scores, right.edge_scores), (left.weight_masks, right.weight_masks)):
        assert (a is None) == (b is None)
    if left.edge_scores is not None and right.edge_scores is not None:
        np.testing.assert_array_equal(left.edge_scores, right.edge_scores)
    if left.weight_masks is not None and right.weight_masks is not None:
        assert set(left.weight_masks) == set(right.weight_masks)
        for name, mask in left.weight_masks.items():
            np.testing.assert_array_equal(mask, right.weight_masks[name])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"weight_masks": None, "searched": "edges"},
        {"edge_scores": None},
        {"provenance": {"model": "<script>\u2028é\ud800", "list": [1, None, {"deep": [True]}]}},
    ],
)
def test_a_folder_brings_everything_back(tmp_path: Path, changes: dict) -> None:
    circuit = a_circuit(**changes)
    assert save_circuit(circuit, tmp_path / "new" / "circuit") == tmp_path / "new" / "circuit"
    assert_same(load_circuit(tmp_path / "new" / "circuit"), circuit)
    assert sorted(f.name for f in (tmp_path / "new").iterdir()) == ["circuit"]


@pytest.mark.parametrize("kept", [np.zeros, np.ones])
def test_an_empty_and_a_full_circuit_come_back(tmp_path: Path, kept) -> None:
    circuit = Circuit(GRAPH, kept(GRAPH.n_edges, dtype=bool))
    assert_same(load_circuit(save_circuit(circuit, tmp_path / "c")), circuit)
    assert_same(circuit_from_json(circuit_to_json(circuit)), circuit)


def test_masks_take_one_bit_a_weight(tmp_path: Path) -> None:
    circuit = a_circuit(weight_masks={"m0.in": np.ones((1000, 800), dtype=bool)})
    folder = save_circuit(circuit, tmp_path / "c")
    assert (folder / artifact.MASKS_FILE).stat().st_size < 1000 * 800 / 8 + 4 * GRAPH.n_edges + 2000


def test_others_may_read_what_is_saved(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    folder = save_circuit(a_circuit(), tmp_path / "c")
    assert {f.stat().st_mode for f in folder.iterdir()} == {plain.stat().st_mode}


def test_saving_replaces_an_earlier_circuit_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "c"
    target.mkdir()
    save_circuit(a_circuit(), target)
    later = a_circuit(provenance={"model": "other"})
    save_circuit(later, target)
    assert load_circuit(target).provenance["model"] == "other"
    (target / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"notes\.txt"):
        save_circuit(a_circuit(), target)
    assert (target / "notes.txt").read_text() == "mine"
    assert load_circuit(target).provenance["model"] == "other"


def test_saving_leaves_strangers_alone(tmp_path: Path) -> None:
    file, folder, link = tmp_path / "file", tmp_path / "folder", tmp_path / "link"
    file.write_text("x")
    folder.mkdir()
    (folder / "circuit.json").write_text('{"format": "something else"}')
    link.symlink_to(tmp_path / "nowhere")
    for target in (file, folder, link, file / "below"):
        with pytest.raises(ArtifactError):
            save_circuit(a_circuit(), target)
    assert file.read_text() == "x"
    assert (folder / "circuit.json").read_text() == '{"format": "something else"}'
    assert sorted(f.name for f in tmp_path.iterdir()) == ["file", "folder", "link"]


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_impossible_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError):
        save_circuit(a_circuit(), tmp_path / name)
    with pytest.raises(ArtifactError):
        load_circuit(tmp_path / name)


def test_a_failed_save_leaves_the_old_circuit_and_no_litter(tmp_path: Path, monkeypatch) -> None:
    save_circuit(a_circuit(), tmp_path / "c")

    def full_disk(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact, "save_file", full_disk)
    with pytest.raises(ArtifactError, match="No space left"):
        save_circuit(a_circuit(provenance={"model": "later"}), tmp_path / "c")
    assert load_circuit(tmp_path / "c").provenance["model"] == "mini"
    assert [f.name for f in tmp_path.iterdir()] == ["c"]


def test_values_that_json_lacks(tmp_path: Path) -> None:
    numbers = {"kl": float("nan"), "best": np.float32(0.5), "shape": (1, 2), "top": np.int64(3)}
    loaded = load_circuit(save_circuit(a_circuit(provenance={"metrics": numbers}), tmp_path / "c"))
    assert loaded.provenance["metrics"] == {"kl": None, "best": 0.5, "shape": [1, 2], "top": 3}
    with pytest.raises(ArtifactError, match=r"provenance\.thing"):
        save_circuit(a_circuit(provenance={"thing": object()}), tmp_path / "d")
    with pytest.raises(ArtifactError, match="finite"):
        save_circuit(a_circuit(edge_scores=np.full(GRAPH.n_edges, np.nan)), tmp_path / "d")


# --- the single file -------------------------------------------------------------------------------------


def test_the_single_file_holds_edges_and_all_scores() -> None:
    circuit = a_circuit(weight_masks=None, searched="edges")
    assert_same(circuit_from_json(circuit_to_json(circuit)), circuit)


def test_the_single_file_sums_weight_masks_up() -> None:
    circuit = a_circuit()
    loaded = circuit_from_json(circuit_to_json(circuit))
    assert (loaded.weight_masks, loaded.searched) == (None, "edges")
    assert loaded.provenance["weight_masks_left_out"] == {"density": circuit.weight_density}
    with pytest.raises(ArtifactError, match="folder"):
        circuit_from_json(circuit_to_json(a_circuit(searched="weights")))


def test_a_file_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(
        json.dumps(
            {
                "format": "discogp-circuit",
                "version": 1,
                "graph": {"n_layers": 2, "n_heads": 2},
                "ablation": "zero",
                "searched": "edges",
                "edges": {"input->a0.h1<q>": 2.5, "a0.h1->logits": -1},
                "provenance": {},
            }
        )
    )
    circuit = load_circuit(path)
    assert [edge.name for edge in circuit.strongest()] == ["input->a0.h1<q>", "a0.h1->logits"]
    assert circuit.edge_scores is not None
    assert (circuit.edge_scores[~circuit.edge_mask] <= -1).all()


def broken(**changes) -> str:
    """Without its seal, which would be told first."""
    document = json.loads(circuit_to_json(a_circuit(weight_masks=None, searched="edges")))
    del document["sha256"]
    document.update(changes)
    return json.dumps(document)


NAN_SCORES = base64.b64encode(np.full(GRAPH.n_edges, np.nan, dtype="<f4").tobytes()).decode()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a valid circuit JSON"),
        ("[1, 2", "not a valid circuit JSON"),
        ("[]", "no circuit"),
        ('"text"', "no circuit"),
        ("{}", "no circuit"),
        ("[" * 100_000, "not a valid circuit JSON"),
        ('{"format": ' + "9" * 5000 + "}", "not a valid circuit JSON"),
        ('{"format": "discogp-circuit", "version": NaN}', "NaN"),
        ('{"format": "discogp-circuit", "format": "discogp-circuit"}', "twice"),
        (b"\xff\xfe\x00", "UTF-8"),
        (broken(version=2), "version 2"),
        (broken(version="1"), "version '1'"),
        (broken(graph=None), "graph"),
        (broken(graph={"n_layers": 2}), "n_heads"),
        (broken(graph={"n_layers": True, "n_heads": 2}), "n_layers"),
        (broken(graph={"n_layers": 10**9, "n_heads": 10**9}), "n_layers"),
        (broken(graph={"n_layers": 10**5, "n_heads": 10**5}), "100000; it should be less"),
        (broken(graph={"n_layers": 1000, "n_heads": 2}, n_edges=None), "beyond 4,000,000"),
        (broken(graph={"n_layers": 2, "n_heads": 2, "parallel": "no"}), "parallel"),
        (broken(edges=["input->logits"]), "edges"),
        (broken(edges={"input->a7.h0<q>": 1}), "a7.h0"),
        (broken(edges={"m1->a0.h0<q>": 1}), "computed after"),
        (broken(edges={"nonsense": 1}), "nonsense"),
        (broken(edges={"input->logits": "big"}), "big"),
        (broken(edges={"input->logits": True}), "True"),
        (broken(edges={"input->logits": 1e300}), "finite"),
        (broken(edges={"input->logits": 1, "input->m0": None}), "all or none"),
        (broken(all_edge_scores="%%%"), "base64"),
        (broken(all_edge_scores=7), "all_edge_scores is 7"),
        (broken(all_edge_scores="AAAA"), "bytes"),
        (broken(all_edge_scores=NAN_SCORES), "finite"),
        (broken(ablation="magic"), "magic"),
        (broken(ablation=[]), r"\[\]"),
        (broken(searched="all"), "all"),
        (broken(provenance=[]), "provenance"),
    ],
)
def test_a_broken_json_is_refused_with_its_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(ArtifactError, match=reason):
        circuit_from_json(text)


def test_a_huge_json_is_refused(tmp_path: Path, monkeypatch) -> None:
    folder = save_circuit(a_circuit(), tmp_path / "c")
    monkeypatch.setattr(document, "MAX_JSON_BYTES", 100)
    with pytest.raises(ArtifactError, match="at most 100"):
        load_circuit(folder)
    with pytest.raises(ArtifactError, match="at most 100"):
        circuit_from_json(circuit_to_json(a_circuit(weight_masks=None)))


# --- broken folders --------------------------------------------------------------------------------------


def test_what_is_no_circuit_folder(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no circuit"):
        load_circuit(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match=r"no circuit\.json"):
        load_circuit(tmp_path)
    (tmp_path / "circuit.json").write_text(circuit_to_json(a_circuit()))
    with pytest.raises(ArtifactError, match=r"no masks\.safetensors"):
        load_circuit(tmp_path)
    (tmp_path / "notes.txt").write_bytes(b"\x80\x81")
    with pytest.raises(ArtifactError, match="UTF-8"):
        load_circuit(tmp_path / "notes.txt")


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_truncated_masks(tmp_path: Path, share: float) -> None:
    folder = save_circuit(a_circuit(), tmp_path / "c")
    content = (folder / artifact.MASKS_FILE).read_bytes()
    (folder / artifact.MASKS_FILE).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ArtifactError, match="safetensors"):
        load_circuit(folder)


def change_tensors(tensors: dict, what: str) -> None:
    edges = tensors["edge_mask"]
    scores = tensors["edge_scores"]
    if what == "no edge mask":
        del tensors["edge_mask"]
    elif what == "other edges":
        tensors["edge_mask"] = ~edges
    elif what == "short edge mask":
        tensors["edge_mask"] = edges[:-1]
    elif what == "wrong type":
        tensors["edge_mask"] = edges.astype(np.float32)
    elif what == "short scores":
        tensors["edge_scores"] = scores[:-1]
    elif what == "double scores":
        tensors["edge_scores"] = scores.astype(np.float64)
    elif what == "nan scores":
        tensors["edge_scores"] = np.full_like(scores, np.nan)
    elif what == "short weights":
        tensors["weights/a0.q"] = tensors["weights/a0.q"][:-1]
    elif what == "missing weights":
        del tensors["weights/a0.q"]
    elif what == "more weights":
        tensors["weights/a9.q"] = tensors["weights/a0.q"]


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("no edge mask", "edge_mask"),
        ("other edges", "different edges"),
        ("short edge mask", "edge_mask"),
        ("wrong type", "float32"),
        ("short scores", "edge_scores"),
        ("double scores", "float64"),
        ("nan scores", "finite"),
        ("short weights", r"a0\.q"),
        ("missing weights", r"a0\.q"),
        ("more weights", r"a9\.q"),
    ],
)
def test_masks_that_disagree_with_the_json(tmp_path: Path, what: str, reason: str) -> None:
    folder = save_circuit(a_circuit(), tmp_path / "c")
    tensors = load_file(folder / artifact.MASKS_FILE)
    tensors = {name: value.copy() for name, value in tensors.items()}
    change_tensors(tensors, what)
    save_file(tensors, folder / artifact.MASKS_FILE)
    with pytest.raises(ArtifactError, match=reason):
        load_circuit(folder)


@pytest.mark.parametrize("shape", [[5, 3], [2, 5, 4], [-2, -5, 3], [10**30], "30", None, [2, 5, 3.0]])
def test_a_mask_shape_that_disagrees(tmp_path: Path, shape: object) -> None:
    folder = save_circuit(a_circuit(), tmp_path / "c")
    document = json.loads((folder / "circuit.json").read_text())
    document["weights"]["masks"]["a0.q"]["shape"] = shape
    (folder / "circuit.json").write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=r"a0\.q"):
        load_circuit(folder)


def test_no_prefix_of_a_circuit_json_loads_or_escapes() -> None:
    text = circuit_to_json(a_circuit(weight_masks=None, searched="edges"))
    for end in range(0, len(text) - 2, 37):
        with pytest.raises(DiscoGPError):
            circuit_from_json(text[:end])


def test_a_file_that_claims_a_large_graph_costs_little(monkeypatch) -> None:
    """Of 3.7 million edges only those that are kept are made; of more than 4 million none at all."""
    monkeypatch.setattr(ComputationGraph, "edges", property(lambda self: pytest.fail("every edge was made")))
    document = {"n_edges": None, "edges": {"input->logits": 1.0}, "all_edge_scores": None}
    circuit = circuit_from_json(broken(graph={"n_layers": 960, "n_heads": 1}, **document))
    assert circuit.graph.n_edges == 3_689_281
    assert [edge.name for edge in circuit.strongest()] == ["input->logits"]
    assert circuit.edges == ("input->logits",)
    monkeypatch.setattr(ComputationGraph, "prefix_lengths", property(lambda self: pytest.fail("it was built")))
    for shape in ({"n_layers": 1000, "n_heads": 1}, {"n_layers": 1024, "n_heads": 1024}):
        with pytest.raises(ArtifactError, match=r"beyond 4,000,000"):
            circuit_from_json(broken(graph=shape, **document))
    with pytest.raises(ArtifactError, match="n_layers is 1500"):
        circuit_from_json(broken(graph={"n_layers": 1500, "n_heads": 1}, **document))
