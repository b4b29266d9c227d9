"""The list of known models, and what it says about models that are not here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from discogp import paths
from discogp.cli import main
from discogp.errors import ModelError
from discogp.models import registry
from discogp.models.families.table import ARCHITECTURES
from discogp.models.fetch import fetch
from discogp.models.loading import load_checkpoint
from tests.tiny_models import build_tiny_llama


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DISCOGP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(registry, "in_hub_cache", lambda name: False)
    return tmp_path / "home"


def test_names_are_unique_and_rows_complete() -> None:
    models = registry.list_models()
    assert [m.name for m in models] == ["mini", "smollm2-135m", "gpt2", "gpt2-medium"]
    spoken = [name for m in models for name in (m.name, *m.aliases)]
    assert len(spoken) == len(set(spoken))
    for model in models:
        assert model.title
        assert model.description.endswith(".")
        assert model.source
        assert model.license
        assert model.architecture in ARCHITECTURES
        assert model.location()


def test_found_by_name_alias_and_hub_name() -> None:
    assert registry.get_model("gpt2-small") is registry.get_model("openai-community/gpt2")
    assert registry.get_model("smollm2").name == "smollm2-135m"
    assert registry.find("something else") is None
    with pytest.raises(ModelError, match="Did you mean 'gpt2-medium'"):
        registry.get_model("gpt2-mediun")


def test_smollm2_that_is_not_here_says_how_to_get_it(empty_home: Path) -> None:
    model = registry.get_model("smollm2-135m")
    assert model.folder() == empty_home / "models" / "smollm2-135m"
    assert not model.available()
    with pytest.raises(ModelError, match="python -m discogp models get smollm2-135m"):
        load_checkpoint("smollm2-135m")
    assert not empty_home.exists()  # asking creates nothing


def test_known_model_loads_from_its_folder(empty_home: Path) -> None:
    build_tiny_llama(empty_home / "models" / "smollm2-135m", tokenizer=True)
    model = registry.get_model("smollm2-135m")
    assert model.available()
    steps: list[float] = []
    assert fetch(model, lambda message, fraction: steps.append(fraction)) == model.location()
    checkpoint = load_checkpoint("smollm2")
    assert (checkpoint.name, checkpoint.title) == ("smollm2-135m", "SmolLM2-135M-Instruct")


def test_mini_missing_from_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "assets", lambda: tmp_path)
    with pytest.raises(ModelError, match="restore the folder"):
        fetch(registry.get_model("mini"))
    with pytest.raises(ModelError, match="restore the folder"):
        load_checkpoint("mini")


def test_hub_model_comes_out_of_the_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole model in the cache loads without asking the hub, by known name and by hub name."""
    import huggingface_hub
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    entry = cache / "models--openai-community--gpt2"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text("0" * 40)
    build_tiny_llama(tmp_path / "made", tokenizer=True)
    shutil.copytree(tmp_path / "made", entry / "snapshots" / ("0" * 40))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", asked)
    assert registry.get_model("gpt2").available()
    assert not registry.get_model("gpt2-medium").available()
    assert load_checkpoint("gpt2").name == "gpt2"
    assert load_checkpoint("openai-community/gpt2").title == "GPT-2 small"


def test_a_model_of_the_hub_is_fetched_and_then_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a model is read from, and of several kinds of weights one; whatever arrives is checked as a folder."""
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    made = build_tiny_llama(tmp_path / "made", tokenizer=True)
    there = [*(file.name for file in made.iterdir()), "pytorch_model.bin", "consolidated.safetensors", "evil.py"]
    there += ["onnx/model.onnx", "original/params.json"]
    asked: list[list[str]] = []

    def info(*_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in there])

    def download(name: str, *, allow_patterns: list[str]) -> str:
        assert name == "somebody/llama"
        asked.append(sorted(allow_patterns))
        return str(made)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    checkpoint = load_checkpoint("somebody/llama")
    assert (checkpoint.name, checkpoint.title) == ("somebody/llama", "somebody/llama")
    assert asked == [sorted(file.name for file in made.iterdir())]
    there.remove("model.safetensors")
    there.remove("consolidated.safetensors")
    load_checkpoint("somebody/llama")
    assert "pytorch_model.bin" in asked[1]
    (made / "config.json").write_text("[" * 100_000)
    with pytest.raises(ModelError, match="nested"):
        load_checkpoint("somebody/llama")


def test_the_command_line_tells_what_a_folder_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = build_tiny_llama(tmp_path / "model", tokenizer=True, vocab_size=128)
    assert main(["models", "check", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "note: the model has 128 embeddings for the 97 tokens of its tokenizer" in text
    assert main(["models", "check", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["layers"], found["heads"], found["vocabulary"]) == (3, 4, 128)
    assert len(found["notes"]) == 1
    assert main(["models", "check", "mini"]) == 0
    assert "note" not in capsys.readouterr().out
