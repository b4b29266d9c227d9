"""Every family in every form that checkpoints of it are passed around in: the logits are transformers' own.

And the other half of the promise: whatever of these forms says that the model was another one is refused by name.
"""

from __future__ import annotations

import gc
import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from discogp.engine.masked_transformer import load_model
from discogp.errors import ModelError
from discogp.models.families.table import ARCHITECTURES
from discogp.models.leftovers import is_leftover
from discogp.models.loading import Checkpoint, load_checkpoint
from tests.tiny_models import TINY, VOCABULARY, build_tiny

Tensors = dict[str, Tensor]
POSITIONS = 48
LAYERS = 3
HEADS = {"GPTNeoXForCausalLM": "gpt_neox.embed_in.weight", "OPTForCausalLM": "model.decoder.embed_tokens.weight"}


@pytest.fixture(scope="module", autouse=True)
def frozen_objects() -> Iterator[None]:
    """Loading collects garbage; with the libraries' million objects looked at each time, the table takes twice as
    long."""
    import transformer_lens.model_bridge  # noqa: F401

    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def mask(window: int = POSITIONS, size: int = POSITIONS) -> Tensor:
    """[1, 1, size, size], written out: query i sees key j where j ≤ i and i − j < window."""
    rows = [[0 <= i - j < window for j in range(size)] for i in range(size)]
    return torch.tensor(rows)[None, None]


def frequencies(theta: float, dims: int) -> Tensor:
    return torch.tensor([theta ** (-2 * i / dims) for i in range(dims // 2)])


def _masks(name: str, score: float, dtype: torch.dtype, windows: Mapping[int, int] | None = None) -> Tensors:
    found: Tensors = {}
    for layer in range(LAYERS):
        found[name.format(layer) + "bias"] = mask((windows or {}).get(layer, POSITIONS)).to(dtype)
        found[name.format(layer) + "masked_bias"] = torch.tensor(score)
    return found


def _rotary(dims: int, theta: float = 500.0, name: str = "model.layers.{}.self_attn.rotary_emb.inv_freq") -> Tensors:
    return {name.format(layer): frequencies(theta, dims) for layer in range(LAYERS)}


def _tables(dims: int) -> Tensors:
    """Cosines and sines as older Llamas kept them."""
    angles = torch.tensor([[t * 500.0 ** (-2 * (i % (dims // 2)) / dims) for i in range(dims)] for t in range(60)])
    at = "model.layers.1.self_attn.rotary_emb."
    return {f"{at}cos_cached": angles.cos()[None, None], f"{at}sin_cached": angles.sin()[None, None]}


# What older versions of transformers, or of what came before, stored beside the parameters. Windows and thetas are
# those of `TINY`.
OLD_BUFFERS: dict[str, Tensors] = {
    "GPT2LMHeadModel": _masks("transformer.h.{}.attn.", -1e4, torch.uint8),
    "GPTNeoForCausalLM": _masks("transformer.h.{}.attn.attention.", -1e9, torch.bool, {1: 3, 2: 3}),
    "GPTNeoXForCausalLM": _masks("gpt_neox.layers.{}.attention.", -1e9, torch.bool)
    | _rotary(4, name="gpt_neox.layers.{}.attention.rotary_emb.inv_freq"),
    "OPTForCausalLM": {"model.decoder.version": torch.tensor([3.0])},
    "LlamaForCausalLM": _rotary(8) | _tables(8) | {"model.position_ids": torch.arange(POSITIONS)[None]},
    "MistralForCausalLM": _rotary(8),
    "Qwen2ForCausalLM": _rotary(8) | {"model.causal_mask": ~mask()[0, 0]},
    "Qwen3ForCausalLM": {"model.rotary_emb.inv_freq": frequencies(500.0, 12)},
    "GemmaForCausalLM": _rotary(12) | {"model.embed_tokens.embed_scale": torch.tensor(math.sqrt(32))},
    "Gemma2ForCausalLM": {"model.rotary_emb.inv_freq": frequencies(500.0, 12)},
    "Gemma3ForCausalLM": {
        "model.rotary_emb.inv_freq": frequencies(5000.0, 12) / 8,
        "model.rotary_emb_local.inv_freq": frequencies(50.0, 12),
    },
    "Phi3ForCausalLM": _rotary(4, name="model.layers.{}.self_attn.rotary_emb.inv_freq"),
}
# LongRoPE of `TINY`: the short factors.
OLD_BUFFERS["Phi3ForCausalLM"] = {
    name: tensor / torch.tensor([1.0, 1.3]) for name, tensor in OLD_BUFFERS["Phi3ForCausalLM"].items()
}


def rewritten(folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """The folder with other tensors in its one safetensors file."""
    file = folder / "model.safetensors"
    save_file({k: t.contiguous().clone() for k, t in change(load_file(file)).items()}, file, metadata={"format": "pt"})
    return folder


def pickled(folder: Path, change: Callable[[Tensors], Tensors] = dict) -> Path:
    """The folder with a `.bin` file in the place of its safetensors file."""
    tensors = change({name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()})
    torch.save(tensors, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def with_buffers(architecture: str, folder: Path) -> Path:
    return rewritten(build_tiny(architecture, folder), lambda tensors: tensors | OLD_BUFFERS[architecture])


def with_buffers_pickled(architecture: str, folder: Path) -> Path:
    return pickled(build_tiny(architecture, folder), lambda tensors: tensors | OLD_BUFFERS[architecture])


def with_buffers_in_half(architecture: str, folder: Path) -> Path:
    halved = {n: t.half() if t.is_floating_point() else t for n, t in OLD_BUFFERS[architecture].items()}
    return rewritten(in_dtype(torch.float16)(architecture, folder), lambda tensors: tensors | halved)


def tied(architecture: str, folder: Path) -> Path:
    return build_tiny(architecture, folder, tie_word_embeddings=True)


def untied(architecture: str, folder: Path) -> Path:
    return build_tiny(architecture, folder, tie_word_embeddings=False)


def tied_and_stored(architecture: str, folder: Path) -> Path:
    """The head is stored although the config ties it."""

    def change(tensors: Tensors) -> Tensors:
        (name,) = (name for name in tensors if tensors[name].shape == (VOCABULARY, 32))
        return tensors | {"lm_head.weight": tensors[name].clone()}

    return rewritten(tied(architecture, folder), change)


def in_dtype(dtype: torch.dtype) -> Callable[[str, Path], Path]:
    def build(architecture: str, folder: Path) -> Path:
        build_tiny(architecture, folder, dtype=str(dtype).removeprefix("torch."))
        return rewritten(folder, lambda tensors: {name: tensor.to(dtype) for name, tensor in tensors.items()})

    return build


def sharded(architecture: str, folder: Path) -> Path:
    from transformers import AutoModelForCausalLM

    whole = build_tiny(architecture, folder.with_name("whole"))
    AutoModelForCausalLM.from_pretrained(whole).save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder


def sharded_pickles(architecture: str, folder: Path) -> Path:
    tensors = load_file(build_tiny(architecture, folder) / "model.safetensors")
    placed = {}
    for index, half in enumerate((list(tensors)[::2], list(tensors)[1::2])):
        file = f"pytorch_model-{index + 1:05}-of-00002.bin"
        torch.save({name: tensors[name].clone() for name in half}, folder / file)
        placed |= dict.fromkeys(half, file)
    index_file = folder / "pytorch_model.bin.index.json"
    index_file.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": placed}))
    (folder / "model.safetensors").unlink()
    return folder


FORMS: dict[str, Callable[[str, Path], Path]] = {
    "old buffers": with_buffers,
    "old buffers, .bin": with_buffers_pickled,
    "old buffers, fp16": with_buffers_in_half,
    "tied head": tied,
    "untied head": untied,
    "tied head, stored": tied_and_stored,
    "fp16": in_dtype(torch.float16),
    "bf16": in_dtype(torch.bfloat16),
    "sharded": sharded,
    ".bin": lambda architecture, folder: pickled(build_tiny(architecture, folder)),
    "sharded .bin": sharded_pickles,
}


def logits_of_transformers(folder: Path) -> Tensor:
    from transformers import AutoModelForCausalLM

    module: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        return module.eval()(TOKENS).logits


TOKENS = torch.randint(0, VOCABULARY, (2, 40), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_those_of_transformers(architecture: str, form: str, tmp_path: Path) -> None:
    folder = FORMS[form](architecture, tmp_path / "model")
    reference = logits_of_transformers(folder)
    model = load_model(folder)
    assert reference.std() > 0.1  # otherwise closeness would say nothing
    torch.testing.assert_close(model.logits(TOKENS), reference, atol=1e-4, rtol=0)
    assert model.weights.tied == ("untied" not in form and (form.startswith("tied") or is_tied(architecture)))
    told = "computes itself" if "buffers" in form else "once more" if "stored" in form else ""
    assert [told in note for note in model.notes] == [True] * bool(told)


def is_tied(architecture: str) -> bool:
    import transformers

    config_class, settings = TINY[architecture]
    return getattr(transformers, config_class)(**settings).tie_word_embeddings


# --- what says that the model was another one


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_checkpoint(folder)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def wrong(architecture: str) -> dict[str, Tensor]:
    """Every kind of buffer that the family has, each with a content of another model."""
    made: dict[str, Tensor] = {}
    for name, right in OLD_BUFFERS[architecture].items():
        if "masked_bias" in name:
            made[name] = torch.tensor(-10.0)
        elif name.endswith("version"):
            made[name] = torch.ones(5)
        elif right.dtype in (torch.bool, torch.uint8):
            made[name] = mask(window=7).to(right.dtype)
        elif right.is_floating_point():
            made[name] = right * 1.01
        else:
            made[name] = right.flip(-1)
    return made


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_buffers_of_another_model_are_refused_by_name(architecture: str, tmp_path: Path) -> None:
    seen: set[str] = set()
    for name, tensor in wrong(architecture).items():
        kind = name.rpartition(".")[2]
        if kind in seen:
            continue
        seen.add(kind)
        folder = build_tiny(architecture, tmp_path / name)
        refused(rewritten(folder, lambda tensors, n=name, t=tensor: tensors | {n: t}), repr(name), "another one")


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("transformer.h.1.attn.bias", mask() * 2),
        ("transformer.h.1.attn.bias", mask().float() + torch.eye(POSITIONS).roll(1, 1) * 0.5),
        ("transformer.h.1.attn.bias", ~mask()),
        ("transformer.h.1.attn.bias", torch.ones(1, 1, POSITIONS, POSITIONS)),
        ("transformer.h.1.attn.bias", torch.ones(96)),
        ("transformer.h.9.attn.bias", mask()),  # the model has no tenth layer
        ("transformer.attn.bias", mask()),
        ("transformer.h.1.attn.masked_bias", torch.tensor(float("nan"))),
        ("transformer.h.1.attn.masked_bias", torch.full((2,), -1e4)),
        ("model.rotary_emb.inv_freq", frequencies(500.0, 8)),  # positions are learned here
        ("lm_head.bias", torch.zeros(VOCABULARY)),
        ("transformer.h.1.attn.gate", torch.ones(1)),
    ],
)
def test_gpt2_with_something_else_beside(name: str, tensor: Tensor, tmp_path: Path) -> None:
    folder = build_tiny("GPT2LMHeadModel", tmp_path / "model")
    refused(rewritten(folder, lambda tensors: tensors | {name: tensor}), name)


def test_a_wide_mask_and_a_global_one_of_a_local_layer_are_harmless(tmp_path: Path) -> None:
    """GPT-Neo saved by some versions holds the plain mask in every layer; others hold one for more positions."""
    stored = {f"transformer.h.{i}.attn.attention.bias": mask(64, 64) for i in range(LAYERS)}
    folder = rewritten(build_tiny("GPTNeoForCausalLM", tmp_path / "model"), lambda tensors: tensors | stored)
    torch.testing.assert_close(load_model(folder).logits(TOKENS), logits_of_transformers(folder), atol=1e-4, rtol=0)
    banded = {"transformer.h.0.attn.attention.bias": mask(window=3)}  # of the global layer
    refused(rewritten(folder, lambda tensors: tensors | banded), "transformer.h.0.attn.attention.bias")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_parameter_is_named_like_a_buffer(architecture: str, tmp_path: Path) -> None:
    tensors = load_file(build_tiny(architecture, tmp_path / "model") / "model.safetensors")
    assert not [name for name in tensors if is_leftover(name)]
    assert all(is_leftover(name) for name in OLD_BUFFERS[architecture])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_stored_head_that_is_not_the_embedding(architecture: str, tmp_path: Path) -> None:
    """transformers would take it, against what the config says."""

    def change(tensors: Tensors) -> Tensors:
        changed = tensors["lm_head.weight"].clone()
        changed[5, 7] += 0.001
        return tensors | {"lm_head.weight": changed}

    folder = rewritten(tied_and_stored(architecture, tmp_path / "model"), change)
    refused(folder, "'lm_head.weight'", "tie_word_embeddings")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    torch.testing.assert_close(load_model(folder).logits(TOKENS), logits_of_transformers(folder), atol=1e-4, rtol=0)


def test_an_untied_head_that_is_absent(tmp_path: Path) -> None:
    folder = untied("LlamaForCausalLM", tmp_path / "model")
    refused(rewritten(folder, lambda t: {n: v for n, v in t.items() if n != "lm_head.weight"}), "lm_head.weight")


def test_linear_scaling_with_the_frequencies_as_older_code_stored_them(tmp_path: Path) -> None:
    """It divided positions and kept the frequencies; the product is the same."""
    scaled = {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0}
    for factor, fine in ((1, True), (2, True), (4, False)):
        folder = build_tiny("LlamaForCausalLM", tmp_path / str(factor), rope_parameters=scaled)
        stored = {name: tensor / factor for name, tensor in _rotary(8).items()}
        rewritten(folder, lambda tensors, stored=stored: tensors | stored)
        if fine:
            assert len(load_checkpoint(folder).notes) == 1
        else:
            refused(folder, "inv_freq")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("save", [rewritten, pickled])
def test_a_wrapper_around_every_name(prefix: str, save: Callable[..., Path], tmp_path: Path) -> None:
    """DataParallel's and torch.compile's; on some names only it says nothing that could be trusted."""
    for architecture in ("GPT2LMHeadModel", "LlamaForCausalLM"):
        plain = with_buffers(architecture, tmp_path / architecture)
        reference = logits_of_transformers(plain)
        some = Path(shutil.copytree(plain, tmp_path / f"{architecture}-some"))
        save(plain, lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()})
        torch.testing.assert_close(load_model(plain).logits(TOKENS), reference, atol=1e-4, rtol=0)
        save(some, lambda tensors: {prefix * (i > 0) + n: tensors[n] for i, n in enumerate(tensors)})
        refused(some, "missing")


def test_gpt2_of_the_base_class(tmp_path: Path) -> None:
    """As OpenAI's are on the hub: no `transformer.` before the names, masks beside the parameters."""

    def change(tensors: Tensors) -> Tensors:
        return {n.removeprefix("transformer."): t for n, t in (tensors | OLD_BUFFERS["GPT2LMHeadModel"]).items()}

    folder = build_tiny("GPT2LMHeadModel", tmp_path / "model")
    reference = logits_of_transformers(folder)
    torch.testing.assert_close(load_model(rewritten(folder, change)).logits(TOKENS), reference, atol=1e-4, rtol=0)


# --- tokenizers


def tokenizer_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def test_tokenizer_larger_and_smaller_than_the_embedding(tmp_path: Path) -> None:
    folder = build_tiny("GPT2LMHeadModel", tmp_path / "model", tokenizer=True)
    assert load_checkpoint(folder).notes == ()
    tokenizer = tokenizer_of(folder)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(folder)
    (note,) = noted(folder).notes
    assert "98 tokens, the model only the first 97" in note
    small = build_tiny("GPT2LMHeadModel", tmp_path / "small", tokenizer=True, vocab_size=128)
    (note,) = noted(small).notes
    assert "128 embeddings for the 97 tokens" in note


def noted(folder: Path) -> Checkpoint:
    """The checkpoint, whose notes the model that is computed with has as well, in every precision."""
    checkpoint, model = load_checkpoint(folder), load_model(folder)
    assert model.notes == model.in_precision("bf16").notes == checkpoint.notes
    return checkpoint


def test_opening_token_that_the_model_does_not_have(tmp_path: Path) -> None:
    folder = build_tiny("LlamaForCausalLM", tmp_path / "model", tokenizer=True)
    tokenizer = tokenizer_of(folder)
    tokenizer.add_special_tokens({"bos_token": "<start>"})
    tokenizer.save_pretrained(folder)
    checkpoint = load_checkpoint(folder)
    assert checkpoint.bos_id is None
    assert "<start>" in checkpoint.notes[-1]


def test_notes_of_a_checkpoint_stand_with_the_prompts_that_are_asked() -> None:
    """And so on the command line, on the page and in every circuit that is found."""
    from discogp.prompts.prepare import prepare
    from discogp.tasks import SplitSizes, get_task

    model = load_model("mini")
    model.notes = ("a note on the files",)
    data = prepare(model, get_task("ioi"), SplitSizes(8, 8, 8))
    assert data.notes[0] == "a note on the files"
    assert data.recipe()["notes"][0] == "a note on the files"
