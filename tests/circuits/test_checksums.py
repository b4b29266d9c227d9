"""A damaged circuit is refused or the same, never another one; and what contradicts itself is no circuit."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from discogp.circuits.artifact import circuit_from_json, circuit_to_json, load_circuit, save_circuit
from discogp.errors import ArtifactError
from tests.circuits.test_artifact import a_circuit
from tests.damage import as_older, flips, same
from tests.places import ROOT

EXAMPLES = ROOT / "assets" / "examples"


@pytest.mark.parametrize("name", ["mini-ioi-both", "mini-ioi-edges"])
def test_no_flipped_bit_of_an_example_opens_as_another_circuit(name: str) -> None:
    found = flips(EXAMPLES / name, 150)
    assert {outcome.partition(": ")[2] for outcome in found} == {"refused"}, found


def test_no_flipped_bit_of_a_single_file_opens_as_another_circuit(tmp_path: Path) -> None:
    file = tmp_path / "circuit.json"
    file.write_text(circuit_to_json(load_circuit(EXAMPLES / "mini-ioi-edges")))
    found = flips(file, 150, seed=1)
    assert {outcome.partition(": ")[2] for outcome in found} <= {"refused", "the same"}, found


@pytest.mark.parametrize("folder", sorted(EXAMPLES.iterdir()), ids=lambda folder: folder.name)
def test_the_examples_are_whole(folder: Path) -> None:
    assert load_circuit(folder).notes == ()
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert [line.split("  ")[1] for line in lines] == ["circuit.json", "masks.safetensors"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_understands_the_checksums(tmp_path: Path) -> None:
    folder = save_circuit(a_circuit(), tmp_path / "c")
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "circuit.json: OK\nmasks.safetensors: OK\n")


def test_who_changes_a_circuit_on_purpose_is_told_how(tmp_path: Path) -> None:
    folder = save_circuit(a_circuit(), tmp_path / "c")
    file = folder / "circuit.json"
    document = json.loads(file.read_text())
    document["provenance"]["comment"] = "mine"
    file.write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=r"sha256sum circuit\.json masks\.safetensors > SHA256SUMS there$"):
        load_circuit(folder)
    names = ("circuit.json", "masks.safetensors")
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    for order in (sums, sums[::-1]):
        (folder / "SHA256SUMS").write_text("".join(order))
        assert load_circuit(folder).provenance["comment"] == "mine"


def test_without_its_checksums_a_folder_is_not_complete(tmp_path: Path) -> None:
    folder = save_circuit(a_circuit(), tmp_path / "c")
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ArtifactError, match="SHA256SUMS is missing"):
        load_circuit(folder)


def test_older_circuits_open_with_a_note(tmp_path: Path) -> None:
    circuit = a_circuit()
    older = load_circuit(as_older(save_circuit(circuit, tmp_path / "c")))
    assert same(older, circuit)
    assert "no checksum" in older.notes[0]
    assert older.without([older.edges[0]]).notes == older.notes
    assert load_circuit(save_circuit(older, tmp_path / "d")).notes == ()
    document = json.loads(circuit_to_json(a_circuit(weight_masks=None, searched="edges")))
    del document["sha256"]
    assert "no checksum" in circuit_from_json(json.dumps(document)).notes[0]


def test_a_single_file_may_be_written_anew_with_other_spaces() -> None:
    text = circuit_to_json(a_circuit(weight_masks=None, searched="edges"))
    again = json.dumps(dict(reversed(json.loads(text).items())))
    assert same(circuit_from_json(again), circuit_from_json(text))
    assert circuit_from_json(again).notes == ()
    with pytest.raises(ArtifactError, match="checksum is that of another content"):
        circuit_from_json(text.replace('"zero"', '"mean"').replace('"mean"', '"resample"'))


def test_one_file_of_a_folder_says_what_is_not_read(tmp_path: Path) -> None:
    folder = save_circuit(a_circuit(weight_masks=None, searched="edges"), tmp_path / "c")
    assert "masks and checksums beside it were not read" in load_circuit(folder / "circuit.json").notes[0]


def _set(*path: str, to: object) -> Callable[[dict], None]:
    def change(document: dict) -> None:
        for name in path[:-1]:
            document = document[name]
        assert path[-1] in document
        document[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_set("n_edges", "kept", to=1), "n_edges says 1 of"),
        (_set("n_edges", "total", to=9), "contradicts itself"),
        (_set("weights", "density", to=0.5), "density of the weights is 0.5"),
        (_set("weights", "density_of_searched", to=0.125), "density_of_searched of the weights is 0.125"),
        (_set("weights", "unmasked", to=1), "density of the weights"),
        (_set("weights", "masks", "a0.q", "kept", to=1), "a0.q keeps 1 weights"),
        (lambda document: document["edges"].update(dict.fromkeys(document["edges"], 0.5)), "contradicts itself"),
        (lambda document: document["edges"].update({next(iter(document["edges"])): None}), "all or none"),
        (lambda document: document.update(wdights=document.pop("weights")), "wdights is no name"),
        (lambda document: document["graph"].update(parallem=True), "parallem is no name"),
    ],
)
def test_contradictions_are_refused_without_checksums_too(
    tmp_path: Path, change: Callable[[dict], None], reason: str
) -> None:
    folder = save_circuit(a_circuit(), tmp_path / "c")
    with pytest.raises(ArtifactError, match=reason):
        load_circuit(as_older(folder, change))


def test_scores_of_a_single_file_agree(tmp_path: Path) -> None:
    document = json.loads(circuit_to_json(a_circuit(weight_masks=None, searched="edges")))
    del document["sha256"]
    name = next(iter(document["edges"]))
    document["edges"][name] = math.nextafter(document["edges"][name], 9)
    circuit_from_json(json.dumps(document))  # the same float32
    document["edges"][name] += 1e-3
    with pytest.raises(ArtifactError, match=f"contradicts itself: the score of {name.replace('<', '.')}"):
        circuit_from_json(json.dumps(document))


def test_what_could_not_be_opened_again_is_not_saved(tmp_path: Path) -> None:
    deep: dict = {}
    for _ in range(900):
        deep = {"deeper": deep}
    for provenance, reason in (
        ({"notes": "one"}, r"provenance\.notes is 'one'"),
        ({"deep": deep}, "nested too deeply"),
        ({"metrics": {"circuit": {"kl": 10**400}}}, "digits"),
        ({1: "a", "1": "b"}, "one as text"),
    ):
        with pytest.raises(ArtifactError, match=reason):
            save_circuit(a_circuit(provenance=provenance), tmp_path / "c")
        with pytest.raises(ArtifactError, match=reason):
            circuit_to_json(a_circuit(provenance=provenance, weight_masks=None, searched="edges"))
    assert list(tmp_path.iterdir()) == []


def test_a_type_that_no_mask_has(tmp_path: Path) -> None:
    folder = as_older(save_circuit(a_circuit(), tmp_path / "c"))
    file = folder / "masks.safetensors"
    header = json.dumps({"edge_mask": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"abcd")
    with pytest.raises(ArtifactError, match="F8_E4M3"):
        load_circuit(folder)


def test_a_mask_of_more_axes_than_there_are(tmp_path: Path) -> None:
    folder = save_circuit(a_circuit(), tmp_path / "c")
    tensors = {name: tensor.copy() for name, tensor in load_file(folder / "masks.safetensors").items()}
    save_file(tensors, folder / "masks.safetensors")
    for shape in ([2, 5, 3] + [1] * 62, [2**40] * 60 + [0]):

        def change(document: dict, shape: list[int] = shape) -> None:
            document["weights"]["masks"]["a0.q"]["shape"] = shape

        with pytest.raises(ArtifactError, match=r"a0\.q"):
            load_circuit(as_older(folder, change))
