"""Loading: names, folders, tokenizers, and every way a checkpoint can be wrong, each with its own words."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from discogp.errors import ModelError
from discogp.models.loading import load_checkpoint
from tests.tiny_models import build_tiny, build_tiny_gpt2, build_tiny_llama


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_gpt2(tmp_path_factory.mktemp("tiny") / "my-gpt2")


@pytest.fixture
def broken(gpt2: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be damaged by a test."""
    return Path(shutil.copytree(gpt2, tmp_path / "broken"))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- what loads


def test_folder_without_tokenizer(gpt2: Path) -> None:
    checkpoint = load_checkpoint(gpt2)
    assert checkpoint.tokenizer is None
    assert checkpoint.bos_id is None
    assert checkpoint.title == "my-gpt2"
    assert checkpoint.name == str(gpt2.resolve())
    assert load_checkpoint(checkpoint.name).weights.config == checkpoint.weights.config


@pytest.mark.parametrize("build", [build_tiny_gpt2, build_tiny_llama])
def test_folder_with_tokenizer(build: Callable[..., Path], tmp_path: Path) -> None:
    checkpoint = load_checkpoint(build(tmp_path / "model", tokenizer=True))
    assert checkpoint.tokenizer is not None
    assert checkpoint.bos_id == 0
    assert checkpoint.tokenizer.encode("w5 w7", add_special_tokens=False) == [5, 7]
    # The bridge would have added a padding token to the tokenizer it was given.
    assert checkpoint.tokenizer.pad_token is None


def test_chat_turn_is_not_taken_for_the_opening_token(tmp_path: Path) -> None:
    folder = build_tiny_llama(tmp_path / "model", tokenizer=True)
    content = (folder / "tokenizer.json").read_text().replace('"w1"', '"<|im_start|>"')
    (folder / "tokenizer.json").write_text(content)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"bos_token": "<|im_start|>"}))
    checkpoint = load_checkpoint(folder)
    assert checkpoint.tokenizer is not None
    assert checkpoint.tokenizer.bos_token_id == 1
    assert checkpoint.bos_id == 0


def test_sharded_checkpoint(gpt2: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(gpt2).save_pretrained(tmp_path / "shards", max_shard_size="50KB")
    shards = sorted((tmp_path / "shards").glob("*.safetensors"))
    assert len(shards) > 1
    torch.testing.assert_close(load_checkpoint(tmp_path / "shards").weights.embed, load_checkpoint(gpt2).weights.embed)
    shards[0].unlink()
    with pytest.raises(ModelError, match="weight files missing"):
        load_checkpoint(tmp_path / "shards")


def test_pickled_checkpoint_of_plain_tensors(gpt2: Path, broken: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(broken / "model.safetensors"), broken / "pytorch_model.bin")
    (broken / "model.safetensors").unlink()
    torch.testing.assert_close(load_checkpoint(broken).weights.embed, load_checkpoint(gpt2).weights.embed)


def test_loading_leaves_logging_as_it_was(gpt2: Path) -> None:
    import logging

    from transformers.utils import logging as transformers_logging

    before = logging.getLogger().level, transformers_logging.get_verbosity()
    load_checkpoint(gpt2)
    assert (logging.getLogger().level, transformers_logging.get_verbosity()) == before


def test_relative_path_and_path_object(gpt2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(gpt2.parent)
    assert load_checkpoint("my-gpt2").name == load_checkpoint(Path("my-gpt2")).name == str(gpt2.resolve())


# --- what is refused


def refusal(name: Any, *words: str, device: Any = "cpu") -> str:
    """Load, expect a ModelError whose one-line text holds all `words`, and return the text."""
    with pytest.raises(ModelError) as caught:
        load_checkpoint(name, device=device)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text
    return text


@pytest.mark.parametrize("name", ["", "   ", "a\0b", "two\nlines", 5, None, b"gpt2", "x" * 5000])
def test_names_that_are_no_names(name: Any) -> None:
    refusal(name, "Known models: mini, smollm2-135m")


@pytest.mark.parametrize("name", ["<b>bold</b>", "a/b/c", "owner/model?x=1", "имя", "a b", "x" * 300, "-rf", "a//b"])
def test_names_that_the_hub_cannot_have(name: str) -> None:
    refusal(name, "neither an existing folder nor a name on the Hugging Face hub", "Known models")


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./nothing", "../nothing-here", "~/no such folder"])
def test_missing_folder(name: str) -> None:
    refusal(name, repr(name), "does not exist")


def test_file_instead_of_folder(gpt2: Path) -> None:
    refusal(gpt2 / "model.safetensors", "is a file", str(gpt2))


def test_empty_folder_and_folder_without_config(tmp_path: Path) -> None:
    refusal(tmp_path, "no config.json", "it is empty")
    (tmp_path / "notes.txt").write_text("x")
    refusal(tmp_path, "no config.json", "notes.txt")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[1, 2]", b"null", b"[" * 100_000])
def test_damaged_config(broken: Path, content: bytes) -> None:
    (broken / "config.json").write_bytes(content)
    refusal(broken, "config.json", "download the model again")


@pytest.mark.parametrize("kept", [0, 5, 400, 20_000])
def test_truncated_weights(broken: Path, kept: int) -> None:
    file = broken / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    refusal(broken, "model.safetensors", f"({kept:,} bytes)", "damaged or cut short")


def test_no_weights(broken: Path) -> None:
    (broken / "model.safetensors").unlink()
    refusal(broken, "has no weights")


def test_missing_surplus_and_misshapen_parameters(broken: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = broken / "model.safetensors"
    whole = load_file(file)
    key = "transformer.h.1.mlp.c_fc.weight"
    save_file({k: t for k, t in whole.items() if k != key}, file, metadata={"format": "pt"})
    refusal(broken, "missing from its weight files", key)
    save_file(whole | {"transformer.h.9.ln_1.weight": torch.ones(32)}, file, metadata={"format": "pt"})
    refusal(broken, "not in the architecture", "transformer.h.9")
    save_file(whole | {key: torch.ones(5, 5)}, file, metadata={"format": "pt"})
    refusal(broken, key)
    save_file(whole | {key: whole[key] * float("nan")}, file, metadata={"format": "pt"})
    refusal(broken, "not finite numbers", "layer 1 mlp_in")


@pytest.mark.parametrize(
    ("architecture", "model_type", "reason"),
    [
        ("MixtralForCausalLM", "mixtral", "mixture of experts"),
        ("Qwen3MoeForCausalLM", "qwen3_moe", "mixture of experts"),
        ("MambaForCausalLM", "mamba", "recurrent"),
        ("BertForMaskedLM", "bert", "encoder"),
        ("T5ForConditionalGeneration", "t5", "cross-attention"),
        ("GPT2ForSequenceClassification", "gpt2", "classification head"),
        ("Gemma3ForConditionalGeneration", "gemma3", "text model alone"),
        ("OlmoHybridForCausalLM", "olmo_hybrid", "recurrent"),
        ("NobodyKnowsForCausalLM", "nobody-knows", "table of architectures"),
    ],
)
def test_other_architectures(broken: Path, architecture: str, model_type: str, reason: str) -> None:
    edit_config(broken, architectures=[architecture], model_type=model_type)
    refusal(broken, repr(architecture), reason, "Supported architectures: GPT2LMHeadModel, GPTNeo")


@pytest.mark.parametrize("value", [None, [], "GPT2LMHeadModel", ["GPT2LMHeadModel", "LlamaForCausalLM"]])
def test_architecture_not_stated_once(broken: Path, value: Any) -> None:
    edit_config(broken, architectures=value)
    refusal(broken, "exactly one is needed")


def test_class_and_model_type_that_disagree(broken: Path) -> None:
    edit_config(broken, model_type="llama")
    refusal(broken, "'GPT2LMHeadModel'", "'llama'", "belongs to that class")


@pytest.mark.parametrize(
    ("architecture", "settings", "words"),
    [
        ("GPT2LMHeadModel", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True"),
        ("GPT2LMHeadModel", {"scale_attn_weights": False}, "scale_attn_weights=False"),
        ("GPT2LMHeadModel", {"activation_function": "tanh"}, "activation_function='tanh'"),
        ("LlamaForCausalLM", {"hidden_act": "mish"}, "hidden_act='mish'"),
        (
            "LlamaForCausalLM",
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 500.0, "factor": 2.0}},
            "rope_type='yarn'",
        ),
        (
            "LlamaForCausalLM",
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 500.0, "factor": 2.0}},
            "rope_type='dynamic'",
        ),
        (
            "LlamaForCausalLM",
            {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5}},
            "partial_rotary_factor=0.5",
        ),
        ("OPTForCausalLM", {"do_layer_norm_before": False}, "do_layer_norm_before=False"),
        ("OPTForCausalLM", {"word_embed_proj_dim": 16}, "word_embed_proj_dim=16"),
        ("OPTForCausalLM", {"layer_norm_elementwise_affine": False}, "layer_norm_elementwise_affine=False"),
        ("GPTNeoForCausalLM", {"activation_function": "tanh"}, "activation_function='tanh'"),
        ("GPTNeoXForCausalLM", {"hidden_act": "mish"}, "hidden_act='mish'"),
        ("Qwen2ForCausalLM", {"layer_types": ["full_attention", "chunked_attention", "full_attention"]}, "chunked"),
        ("GemmaForCausalLM", {"use_bidirectional_attention": True}, "use_bidirectional_attention=True"),
        ("Gemma2ForCausalLM", {"attention_bias": True}, "attention_bias=True"),
        ("Gemma2ForCausalLM", {"attn_logit_softcapping": -1.0}, "attn_logit_softcapping=-1.0"),
        ("Gemma3ForCausalLM", {"attn_logit_softcapping": 5.0}, "attn_logit_softcapping=5.0"),
        (
            "Gemma3ForCausalLM",
            {
                "rope_parameters": {
                    "full_attention": {"rope_type": "dynamic", "rope_theta": 500.0, "factor": 2.0},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
                }
            },
            "rope_parameters.full_attention.rope_type='dynamic'",
        ),
    ],
)
def test_settings_that_are_not_reproduced(
    tmp_path: Path, architecture: str, settings: dict[str, Any], words: str
) -> None:
    refusal(build_tiny(architecture, tmp_path / "model", **settings), words, "refused; allowed:", architecture)


@pytest.mark.parametrize(
    "changes", [{"n_layer": 10**9}, {"n_layer": 0}, {"n_head": 5}, {"vocab_size": -3}, {"n_embd": "wide"}]
)
def test_impossible_sizes(broken: Path, changes: dict[str, Any]) -> None:
    edit_config(broken, **changes)
    refusal(broken, str(broken))


def test_quantised_and_adapter(broken: Path) -> None:
    edit_config(broken, quantization_config={"quant_method": "gptq", "bits": 4})
    refusal(broken, "quantised")
    (broken / "adapter_config.json").write_text("{}")
    refusal(broken, "adapter")


def test_damaged_or_foreign_tokenizer(tmp_path: Path) -> None:
    folder = build_tiny_gpt2(tmp_path / "model", tokenizer=True)
    (folder / "tokenizer.json").write_text("{ not json")
    refusal(folder, "tokenizer")


@pytest.mark.parametrize("device", ["warp", "cuda:99", 3.5])
def test_device(gpt2: Path, device: Any) -> None:
    if device == "cuda:99" and torch.cuda.is_available():
        pytest.skip("needs a machine without CUDA")
    refusal(gpt2, "evice", device=device)


# --- nothing in a checkpoint is executed


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def test_pickle_that_would_run_code(broken: Path, tmp_path: Path) -> None:
    (broken / "model.safetensors").unlink()
    (broken / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": _Bomb(tmp_path / "ran")}))
    refusal(broken, "safetensors")
    torch.save({"weight": _Bomb(tmp_path / "ran")}, broken / "pytorch_model.bin")
    refusal(broken, "safetensors")
    assert not (tmp_path / "ran").exists()


def test_code_beside_the_weights_stays_unread(tmp_path: Path) -> None:
    folder = build_tiny_gpt2(tmp_path / "model", tokenizer=True)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    edit_config(folder, auto_map={"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"})
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings |= {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    load_checkpoint(folder)
    settings |= {"tokenizer_class": "Evil"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    edit_config(folder, model_type="evil", architectures=["Evil"])
    refusal(folder, "'Evil'")
    assert not (tmp_path / "ran").exists()


# --- the hub, without a network


def _hub_raises(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    import huggingface_hub

    def model_info(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import OfflineModeIsEnabled

    for error in (ConnectionError("no route"), OfflineModeIsEnabled("off"), TimeoutError("slow")):
        _hub_raises(monkeypatch, error)
        refusal("some-owner/some-model", "'some-owner/some-model'", "cannot be reached", "mini", "pass its folder")


def test_hub_that_resolves_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's real client against an address where nobody listens: quick, and recognised."""
    import huggingface_hub

    real = huggingface_hub.HfApi
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: real(endpoint="http://127.0.0.1:9"))
    refusal("some-owner/some-model", "cannot be reached")


def test_hub_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    answer: Any = SimpleNamespace(headers={}, request=None, status_code=404)
    _hub_raises(monkeypatch, RepositoryNotFoundError("no such", response=answer))
    refusal("smolm2-135m", "not on the Hugging Face hub", "Did you mean 'smollm2-135m'?")
    _hub_raises(monkeypatch, GatedRepoError("ask first", response=answer))
    refusal("owner/gated", "licence", "HF_TOKEN")
