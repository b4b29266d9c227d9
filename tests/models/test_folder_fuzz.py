"""Mutated model folders, a part of what `folder_fuzz` tries; and what it, or a person, found, by name."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from app.discover.search_form import count_edges
from discogp.errors import ModelError
from discogp.models.loading import load_checkpoint
from tests.models.folder_fuzz import LIMIT_S, build_bases, outcome, time_limit, try_one
from tests.places import ROOT
from tests.tiny_models import build_tiny

CASES, PARTS = 280, 4


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    made = build_bases(tmp_path_factory.mktemp("fuzz"))
    for folder in made.values():
        assert outcome(folder) == "same"
    gc.collect()
    gc.freeze()
    yield made
    gc.unfreeze()


@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_folders_are_refused_or_are_the_model_they_say(
    part: int, bases: dict[str, Path], tmp_path: Path
) -> None:
    found: Counter[str] = Counter()
    for seed in range(part, CASES, PARTS):
        done, result = "", ""
        try:
            done, result = try_one(bases, tmp_path, seed)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise AssertionError(f"seed {seed}: {error!r}") from error
        found[result] += 1
        assert done
    assert min(found["refused"], found["same"]) > 5, found


# --- found examples


@pytest.fixture
def folder(bases: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(bases["llama"], tmp_path / "model"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refused(folder: Path, *words: str) -> None:
    """At once: nothing as large as the file says is built."""
    began = time.monotonic()
    with time_limit(LIMIT_S), pytest.raises(ModelError) as caught:
        load_checkpoint(folder)
    assert time.monotonic() - began < 5
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value), str(caught.value)


HUGE = (10**5, 10**9, 10**18, 2**63 - 1, 2**63, 10**400, 1e300, -1, 0)


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize(
    ("base", "key"),
    [
        *(
            ("llama", key)
            for key in ("num_hidden_layers", "hidden_size", "vocab_size", "intermediate_size", "head_dim")
        ),
        *(("llama", key) for key in ("num_attention_heads", "num_key_value_heads")),
        *(("gpt2", key) for key in ("n_layer", "n_embd", "n_head", "n_positions", "n_inner", "vocab_size")),
        *(("neo", key) for key in ("num_layers", "hidden_size", "max_position_embeddings")),
        *(("opt", key) for key in ("ffn_dim", "max_position_embeddings", "word_embed_proj_dim")),
    ],
)
def test_a_size_that_the_weights_do_not_have(
    bases: dict[str, Path], tmp_path: Path, base: str, key: str, value: Any
) -> None:
    folder = Path(shutil.copytree(bases[base], tmp_path / "model"))
    if (key, value) in (("n_inner", 0), ("num_key_value_heads", 0)):
        return
    edit(folder / "config.json", **{key: value})
    refused(folder, "model '")


@pytest.mark.parametrize("key", ["num_hidden_layers", "num_attention_heads"])
def test_a_path_that_is_typed_on_the_page(folder: Path, key: str) -> None:
    """Discover guesses the size of the graph from the config, before anything is asked for."""
    assert count_edges(str(folder)) is not None
    for value in (*HUGE, 1500, "3", None, [3], True, 2.0):
        edit(folder / "config.json", num_hidden_layers=3, num_attention_heads=4)
        edit(folder / "config.json", **{key: value})
        began = time.monotonic()
        assert count_edges(str(folder)) is None
        assert time.monotonic() - began < 1
    for path in ("~nosuchuser/model", "a\0b", "x" * 10_000, "/" + "y/" * 5000, str(folder / "config.json")):
        assert count_edges(path) is None
    for text in ("[1]", "{", "7" * 5000, "[" * 100_000, '{"a": 1, "a": 2}', ""):
        (folder / "config.json").write_text(text)
        assert count_edges(str(folder)) is None


def test_what_makes_transformers_build_long_lists(bases: dict[str, Path], folder: Path, tmp_path: Path) -> None:
    edit(folder / "config.json", num_labels=10**9)
    refused(folder, "num_labels")
    neo = Path(shutil.copytree(bases["neo"], tmp_path / "neo"))
    for kinds in ([[["global"], 10**9]], [[["global", "local"], 10**6], [["local"], 1]]):
        edit(neo / "config.json", attention_types=kinds)
        refused(neo, "attention_types")


def test_masks_that_grow_with_the_square_of_positions(tmp_path: Path) -> None:
    """GPT-Neo of 200,000 positions of width 2 has 2 MB of weights, and 40 GB of masks a layer."""
    import transformers

    config: dict[str, Any] = {"hidden_size": 2, "num_heads": 1, "intermediate_size": 2}

    config |= {"vocab_size": 9, "num_layers": 1, "attention_types": [[["global"], 1]]}
    made = transformers.GPTNeoConfig(max_position_embeddings=8, bos_token_id=0, eos_token_id=0, **config)
    module = transformers.GPTNeoForCausalLM(made)
    module.save_pretrained(tmp_path / "model")
    from safetensors.torch import load_file, save_file

    tensors = load_file(tmp_path / "model" / "model.safetensors")
    tensors["transformer.wpe.weight"] = torch.zeros(200_000, 2)
    save_file(tensors, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    edit(tmp_path / "model" / "config.json", max_position_embeddings=200_000)
    refused(tmp_path / "model", "max_position_embeddings is 200,000")


def test_a_graph_larger_than_a_circuit_may_be(tmp_path: Path) -> None:
    folder = build_tiny("GPT2LMHeadModel", tmp_path / "model", n_layer=60, n_head=64, n_embd=64)
    refused(folder, "60 layers of 64 heads", "edges")
    assert count_edges(str(folder)) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"n_layer": 3, "n_layer": 4}', "'n_layer' occurs twice"),
        ('{"a": ' + "7" * 5000 + "}", "too many digits"),
        ("[" * 100_000, "nested"),
        ('{"a": ' + "[" * 40 + "]" * 40 + "}", "32 deep"),
        ("[]", "not list"),
        ("7", "not int"),
        ("null", "not NoneType"),
        ("", "not JSON"),
        ('{"a": "\xe9"}', "UTF-8"),
        (" " * (17 * 2**20), "at most 16,777,216"),
    ],
)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_json_that_is_none_of_ours(bases: dict[str, Path], tmp_path: Path, name: str, text: str, words: str) -> None:
    folder = Path(shutil.copytree(bases["shards"], tmp_path / "model"))
    (folder / name).write_text(text, encoding="latin-1")
    refused(folder, name, words)


def test_a_doubled_key_in_a_large_file_is_found_in_time(folder: Path) -> None:
    pairs = ", ".join(f'"k{i}": {i}' for i in range(200_000))
    (folder / "config.json").write_text(f'{{{pairs}, "k199999": 0}}')
    refused(folder, "'k199999' occurs twice")


@pytest.mark.parametrize(
    "value",
    [
        "../model.safetensors",
        "/etc/passwd",
        "absent.safetensors",
        "config.json",
        "a\0.safetensors",
        "x" * 9999,
        5,
        None,
    ],
)
def test_an_index_of_files_that_are_not_of_the_folder(bases: dict[str, Path], tmp_path: Path, value: Any) -> None:
    folder = Path(shutil.copytree(bases["shards"], tmp_path / "model"))
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"]["model.norm.weight"] = value
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, "missing" if value in ("absent.safetensors", "a\0.safetensors") else "weight")


def header(folder: Path, change: Callable[[dict[str, Any]], object], data: bytes | None = None) -> None:
    """Rewrite the header of the folder's safetensors file."""
    file = folder / "model.safetensors"
    content = file.read_bytes()
    size = int.from_bytes(content[:8], "little")
    stated = json.loads(content[8 : 8 + size])
    change(stated)
    written = json.dumps(stated).encode()
    body = content[8 + size :] if data is None else data
    file.write_bytes(len(written).to_bytes(8, "little") + written + body)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "I8", "BOOL", "I64", "C64", "F4", "nonsense", ""])
def test_weights_in_numbers_that_are_none(folder: Path, dtype: str) -> None:
    """Of the right size for the file, or not: the header says so."""
    width = {"F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "BOOL": 1, "I64": 8, "C64": 8}.get(dtype, 4)
    place = 0

    def change(stated: dict[str, Any]) -> None:
        nonlocal place
        for name in sorted(n for n in stated if n != "__metadata__"):
            count = width
            for length in stated[name]["shape"]:
                count *= length
            stated[name] |= {"dtype": dtype, "data_offsets": [place, place + count]}
            place += count

    header(folder, change)
    header(folder, lambda _: None, data=b"\0" * place)
    refused(folder, dtype if width != 4 else "model.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        lambda stated: stated["model.norm.weight"].update(shape=[10**9]),
        lambda stated: stated["model.norm.weight"].update(shape=[2**63, 2**63]),
        lambda stated: stated["model.norm.weight"].update(shape=[-32]),
        lambda stated: stated["model.norm.weight"].update(data_offsets=[0, 10**18]),
        lambda stated: stated["model.norm.weight"].update(data_offsets=[128, 0]),
        lambda stated: stated.update({"model.norm.weight": 5}),
        lambda stated: stated.update({"x": stated["model.norm.weight"]}),
        lambda stated: stated.clear(),
        lambda stated: stated.update({"__metadata__": 5}),
    ],
)
def test_a_header_that_lies(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    header(folder, change)
    refused(folder, "model '")


def test_pickles_that_lie(folder: Path) -> None:
    """A view repeats one number a billion times; a file may be of compressed zeros, or no table of tensors."""
    import zipfile

    from safetensors.torch import load_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    file = folder / "pytorch_model.bin"
    wide = torch.zeros(1).expand(10**6, 10**6)
    for content, words in (
        (tensors | {"model.norm.weight": wide}, "names tensors of"),
        (tensors | {"model.norm.weight": torch.ones(32).to_sparse()}, "no plain tensor"),
        (tensors | {"model.norm.weight": torch.ones(32, device="meta")}, "'model.norm.weight'"),
        (tensors | {"model.norm.weight": torch.ones(32, dtype=torch.int8)}, "stored as I8"),
        (tensors | {"model.norm.weight": [1, 2]}, "no plain tensor"),
        (tensors | {7: torch.ones(3)}, "'7'"),
        ([tensors], "a list"),
        (torch.ones(3), "a Tensor"),
        ({}, "no tensors"),
    ):
        torch.save(content, file)
        refused(folder, words)
    torch.save(tensors, file)
    with zipfile.ZipFile(file) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    refused(folder, "compressed")
    for content in (b"", b"\x80\x02.", b"PK\x03\x04", b"(" * 10**6, b"\x80\x02" + b"]" * 10**5):
        file.write_bytes(content)
        refused(folder, "pytorch_model.bin")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7" * 5000,
        b"[" * 100_000,
        b'{"model": {"type": "BPE"}}',
        b'{"a":' * 500 + b"1" + b"}" * 500,
    ],
)
def test_a_tokenizer_that_is_none(folder: Path, content: bytes) -> None:
    (folder / "tokenizer.json").write_bytes(content)
    refused(folder, "tokenizer")


@pytest.mark.parametrize("number", [10**6, 10**9, 2**32 - 1])
def test_a_token_with_a_number_beyond_all_measure(folder: Path, number: int) -> None:
    """Some code of tokenizers counts through all numbers up to the highest."""
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"]["w5"] = number
    (folder / "tokenizer.json").write_text(json.dumps(content))
    refused(folder, f"up to {number:,}")


def test_a_tokenizer_of_a_gigabyte(folder: Path) -> None:
    with (folder / "tokenizer.json").open("r+b") as file:
        file.truncate(2**30)
    refused(folder, "tokenizer.json", "bytes")


def test_memory_is_bounded_too(folder: Path, tmp_path: Path) -> None:
    """A process that may take no more than loading this model takes anyway refuses all of these."""
    for name, changes in {
        "layers": {"num_hidden_layers": 10**9},
        "vocabulary": {"vocab_size": 10**9},
        "labels": {"num_labels": 10**9},
        "width": {"hidden_size": 4 * 10**6, "head_dim": 10**6},
    }.items():
        edit(Path(shutil.copytree(folder, tmp_path / name)) / "config.json", **changes)
    code = (
        "import resource, sys\n"
        "from discogp.errors import ModelError\n"
        "from discogp.models.loading import load_checkpoint\n"
        f"load_checkpoint({str(folder)!r})\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"for name in ('layers', 'vocabulary', 'labels', 'width'):\n"
        "    try:\n"
        f"        load_checkpoint({str(tmp_path)!r} + '/' + name)\n"
        "    except ModelError as error:\n"
        "        continue\n"
        "    sys.exit(name)\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "sys.exit(grown > 100_000 and f'{grown} kB more')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
