"""Interrupted and continued is as if nothing had happened; a checkpoint that does not fit is refused by name."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from discogp.circuits.circuit import Circuit
from discogp.discovery import discover
from discogp.engine.masked_transformer import MaskedTransformer, load_model
from discogp.errors import ArtifactError, ConfigError
from discogp.methods.discogp.settings import EdgeConfig, SearchConfig, WeightConfig, config_to_dict
from discogp.prompts.prepare import TaskData
from discogp.search.checkpoint import CheckpointFile, read
from tests.damage import flip
from tests.places import ROOT
from tests.random_task import random_data
from tests.tiny_models import build_tiny_gpt2

FLIPS = int(os.environ.get("DISCOGP_FLIPS", "200"))
PHASE = EdgeConfig(steps=7, learning_rate=0.3, attribution_span=2.0, sparsity_peak=300.0)
WEIGHTS = WeightConfig(steps=7, learning_rate=0.3, sparsity_peak=300.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="module")
def model(folder: Path) -> MaskedTransformer:
    return load_model(folder)


@pytest.fixture(scope="module")
def data(model: MaskedTransformer) -> TaskData:
    return random_data(model)


def config(mask: str, **changes: object) -> SearchConfig:
    base = SearchConfig(
        mask=mask, batch_size=5, evaluations=4, checkpoint_every=3, edges=PHASE, weights=WEIGHTS  # type: ignore[arg-type]
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


def searched(model: MaskedTransformer, data: TaskData, search: SearchConfig, **more: object) -> tuple[Circuit, Circuit]:
    last = list(discover(model, data, search, **more))[-1]  # type: ignore[arg-type]
    assert last.circuit is not None
    assert last.last_circuit is not None
    return last.circuit, last.last_circuit


def assert_same(one: Circuit, other: Circuit) -> None:
    np.testing.assert_array_equal(one.edge_mask, other.edge_mask)
    assert (one.edge_scores is None) == (other.edge_scores is None)
    if one.edge_scores is not None:
        np.testing.assert_array_equal(one.edge_scores, other.edge_scores)
    assert set(one.weight_masks or {}) == set(other.weight_masks or {})
    for name, mask in (one.weight_masks or {}).items():
        np.testing.assert_array_equal(mask, (other.weight_masks or {})[name])
    assert one.provenance["history"] == other.provenance["history"]
    assert one.provenance["step"] == other.provenance["step"]


@pytest.mark.parametrize(("mask", "killed_at"), [("edges", 5), ("both", 4), ("both", 11)])
def test_killed_and_continued_is_bit_for_bit_the_same(
    folder: Path, model: MaskedTransformer, data: TaskData, tmp_path: Path, mask: str, killed_at: int
) -> None:
    search, file = config(mask), tmp_path / "checkpoint"
    asked = {"model": str(folder), "config": config_to_dict(search), "checkpoint": str(file)}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.search_process", json.dumps(asked)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        steps = iter(process.stdout)
        while int(next(steps)) < killed_at:
            pass
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    for one, other in zip(
        searched(model, data, search, checkpoint=file, resume=True), searched(model, data, search), strict=True
    ):
        assert_same(one, other)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"], "no temporary file is left"


@pytest.fixture(scope="module")
def saved(model: MaskedTransformer, data: TaskData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as a cancelled search leaves it."""
    file = tmp_path_factory.mktemp("saved") / "checkpoint"
    seen: list[int] = []
    for progress in discover(model, data, config("both"), cancelled=lambda: len(seen) >= 4, checkpoint=file):
        seen.append(progress.step)
    return file


def test_what_differs_is_named(model: MaskedTransformer, data: TaskData, saved: Path, tmp_path: Path) -> None:
    def resume(other_model: MaskedTransformer, other_data: TaskData, search: SearchConfig) -> None:
        discover(other_model, other_data, search, checkpoint=saved, resume=True)

    with pytest.raises(ConfigError, match=r"setting weights\.learning_rate was 0.3 and is 0.2"):
        resume(model, data, config("both", weights=replace(WEIGHTS, learning_rate=0.2)))
    with pytest.raises(ConfigError, match="setting mask was 'both' and is 'edges'"):
        resume(model, data, config("edges"))
    with pytest.raises(ConfigError, match="train prompts differ"):
        resume(model, replace(data, train=data.test), config("both"))
    retrained = load_model(build_tiny_gpt2(tmp_path, seed=1))
    with pytest.raises(ConfigError, match="the model's weights differ"):
        resume(retrained, data, config("both"))
    with pytest.raises(ConfigError, match=r"no checkpoint at .*absent"):
        discover(model, data, config("both"), checkpoint=saved.with_name("absent"), resume=True)
    resume(model, data, config("both", checkpoint_every=1))  # says nothing about the result


def _flip(content: bytes) -> bytes:
    """One byte in the middle of the largest tensors."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


class _Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("executed",))


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "text": lambda content: b"not a checkpoint",
    "a flipped byte": _flip,
    "another pickle": lambda content: pickle.dumps({"format": 1}),
    "code": lambda content: pickle.dumps(_Harmful()),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_told_and_left_alone(
    model: MaskedTransformer,
    data: TaskData,
    saved: Path,
    tmp_path: Path,
    kind: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "checkpoint"
    damaged = DAMAGE[kind](saved.read_bytes())
    file.write_bytes(damaged)
    with pytest.raises(ArtifactError, match="cut short or damaged"):
        discover(model, data, config("both"), checkpoint=file, resume=True)
    assert file.read_bytes() == damaged
    assert "executed" not in capsys.readouterr().out


def _equal(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return type(one) is type(other) and one == other


def test_no_flipped_bit_is_gone_on_with_as_something_else(saved: Path, tmp_path: Path) -> None:
    whole, content, chance = read(saved), saved.read_bytes(), random.Random(0)
    file, said = tmp_path / "checkpoint", []
    for _ in range(FLIPS):
        file.write_bytes(flip(content, chance.randrange(8 * len(content))))
        try:
            assert _equal(read(file), whole)
        except ArtifactError as error:
            said.append(str(error))
    assert len(said) > FLIPS // 2
    assert not [text for text in said if "\n" in text]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["identity"].update(task="another"),
        lambda data: data["identity"].pop("task"),
        lambda data: data["state"].update(done=data["state"]["done"] + 1),
        lambda data: data["state"].update(done=float(data["state"]["done"])),
        lambda data: data.pop("sha256"),
    ],
)
def test_whatever_is_in_a_checkpoint_counts(saved: Path, tmp_path: Path, change: Callable[[dict], object]) -> None:
    data = torch.load(saved, weights_only=True)
    change(data)
    torch.save(data, tmp_path / "checkpoint")
    with pytest.raises(ArtifactError, match="checksum is wrong"):
        read(tmp_path / "checkpoint")


def test_another_type_of_the_same_bytes_counts(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoint", {"task": "x"})
    file.save({"logits": torch.ones(2, 3), "none": torch.ones(0), "one": torch.tensor(1.0)})
    for other in (torch.ones(2, 3).view(torch.int32), torch.ones(3, 2), torch.ones(6)):
        data = torch.load(file.path, weights_only=True)
        data["state"]["logits"] = other
        torch.save(data, tmp_path / "other")
        with pytest.raises(ArtifactError, match="checksum is wrong"):
            read(tmp_path / "other")


def test_a_checkpoint_of_an_older_release_is_gone_on_with(saved: Path, tmp_path: Path) -> None:
    data = torch.load(saved, weights_only=True)
    del data["sha256"]
    total = 0
    for part in _leaves(data["state"]):
        total = zlib.crc32(part.numpy().data if isinstance(part, torch.Tensor) else repr(part).encode(), total)
    torch.save({**data, "checksum": total}, tmp_path / "checkpoint")
    assert read(tmp_path / "checkpoint")["state"]["done"] == data["state"]["done"]
    torch.save({**data, "checksum": total + 1}, tmp_path / "checkpoint")
    with pytest.raises(ArtifactError, match="checksum is wrong"):
        read(tmp_path / "checkpoint")


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(
    model: MaskedTransformer, data: TaskData, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "checkpoint"
    file.write_bytes(saved.read_bytes())

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(ArtifactError, match="No space left"):
        list(discover(model, data, config("both"), checkpoint=file, resume=True))
    assert file.read_bytes() == saved.read_bytes()
    assert list(tmp_path.iterdir()) == [file]
