"""Model folders whose JSON files somebody has mutated: in structure and in extremes, from a fixed seed.

Only a ModelError may come out, within a time; or a model, whose logits are then those of transformers on the same
folder. `python -m tests.models.folder_fuzz COUNT [SEED]` tries many more than the tests do, with bounded memory, and
prints what it finds.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from discogp.engine.plain import plain_forward
from discogp.errors import ModelError
from discogp.models.loading import load_checkpoint
from tests.tiny_models import VOCABULARY, build_tiny

LIMIT_S = 20.0
"""A folder of 200 kB is read or refused in a tenth of this, on a busy machine too."""
_RAW = "@raw {}@"
# Texts that no Python value is written as.
_TEXTS = (
    "1" + "0" * 400,
    "-" + "9" * 5000,
    "7" * 5000,
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 100_000 + "1" + "}" * 100_000,
    "NaN",
    "-Infinity",
    "1e999",
    '"\\ud800"',
    '"\\u0000"',
    "0.1e",
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, "", "x", "x" * 10_000, "1", "../../etc", -1, 0, 1, 2, 3, 5, 10**6, 10**9, 10**12, 2**63 - 1),
    *(2**63, 10**18, 0.5, -0.5, 1e308, [], {}, [[]], [None], {"a": {}}, [0] * 10_000, {str(i): i for i in range(2000)}),
    *("auto", "float8_e4m3fn", "sdpa", ["x"], [1, 2], [[["global"], 10**9]], {"rope_type": "yarn"}),
)
# What transformers' readers look for, beyond what the valid files hold.
_KEYS = (
    *("num_labels", "id2label", "label2id", "pruned_heads", "dtype", "torch_dtype", "attn_implementation", "auto_map"),
    *("rope_scaling", "rope_theta", "rope_parameters", "layer_types", "configuration_files", "tie_word_embeddings"),
    *("is_encoder_decoder", "quantization_config", "_name_or_path", "text_config", "sub_configs", "head_dim"),
    *("problem_type", "use_bidirectional_attention", "partial_rotary_factor", "sliding_window", "attention_types"),
    *("chunk_size_feed_forward", "output_attentions", "return_dict", "_commit_hash", "base_model_tp_plan"),
    *("transformers_weights", "tokenizer_class", "chat_template", "added_tokens_decoder", "extra_special_tokens"),
    *(
        "model_max_length",
        "tokenizer_file",
        "max_length",
        "cache_implementation",
        "compile_config",
        "watermarking_config",
    ),
    *("activation_sparsity", "attention_bias", "mlp_bias", "scale_attn_weights", "n_inner", "add_cross_attention"),
)
BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", {}),
    "gpt2": ("GPT2LMHeadModel", {}),
    "neo": ("GPTNeoForCausalLM", {}),
    "gemma3": ("Gemma3ForCausalLM", {}),
    "phi3": ("Phi3ForCausalLM", {}),
    "opt": ("OPTForCausalLM", {}),
}


def build_bases(folder: Path) -> dict[str, Path]:
    """Valid folders, of which one is sharded."""
    from transformers import AutoModelForCausalLM

    made = {name: build_tiny(row, folder / name, tokenizer=True, **more) for name, (row, more) in BASES.items()}
    made["shards"] = Path(shutil.copytree(made["llama"], folder / "shards"))
    (made["shards"] / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(made["llama"]).save_pretrained(made["shards"], max_shard_size="40KB")
    return made


def mutated(folder: Path, dice: random.Random) -> str:
    """Mutate one or two JSON files of the folder; returns what was done."""
    files = sorted(folder.glob("*.json"))
    weights = [6 if file.name == "config.json" else 3 if "index" in file.name else 2 for file in files]
    done = []
    for file in dict.fromkeys(dice.choices(files, weights, k=dice.choice((1, 1, 1, 2)))):
        done.append(f"{file.name}: {_mutate_file(file, dice)}")
    return "; ".join(done)


def _mutate_file(file: Path, dice: random.Random) -> str:
    if dice.random() < 0.06:
        return _damage(file, dice)
    tree = json.loads(file.read_text(encoding="utf-8"))
    done = [_mutate_tree(tree, dice) for _ in range(dice.choice((1, 1, 1, 2, 3)))]
    text = json.dumps(tree)
    for index, raw in enumerate(_TEXTS):
        text = text.replace(f'"{_RAW.format(index)}"', raw)
    if dice.random() < 0.05:
        key, value = dice.choice(sorted(tree)), json.dumps(dice.choice(_VALUES[:30]))
        text = f"{text[:-1]}, {json.dumps(key)}: {value}}}"
        done.append(f"{key} twice")
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    return ", ".join(done)


def _damage(file: Path, dice: random.Random) -> str:
    content = file.read_bytes()
    how = dice.choice(("empty", "list", "number", "null", "latin", "cut", "bom", "deep", "flip"))
    place = dice.randrange(max(len(content), 1))
    made = {
        "empty": b"",
        "list": b"[" + content + b"]",
        "number": b"7" * 5000,
        "null": b"null",
        "latin": content[:place] + b"\xff\xfe" + content[place:],
        "cut": content[:place],
        "bom": b"\xef\xbb\xbf" + content,
        "deep": b"[" * 100_000,
        "flip": content[:place] + bytes([content[place] ^ 1 << dice.randrange(8)]) + content[place + 1 :],
    }
    file.write_bytes(made[how])
    return f"damage {how} at {place}"


def _mutate_tree(tree: Any, dice: random.Random) -> str:
    """One mutation at a place found by walking down at random."""
    node, path = tree, []
    while True:
        keys = sorted(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return "nothing"
        key = dice.choice(keys)
        path.append(key)
        inner = node[key]
        if not isinstance(inner, (dict, list)) or not inner or dice.random() < 0.4:
            break
        node = inner
    where = "/".join(map(str, path))
    how = dice.choice(
        ("drop", "value", "value", "value", "value", "wrap", "text", "swap", "rename", "add", "add", "raw")
    )
    if how == "drop":
        del node[key]
    elif how == "value":
        node[key] = copy.deepcopy(dice.choice(_VALUES))
    elif how == "raw":
        node[key] = _RAW.format(dice.randrange(len(_TEXTS)))
    elif how == "wrap":
        node[key] = dice.choice(([inner], {"value": inner}, [inner] * 3, [[inner]] * 2))
    elif how == "text":
        node[key] = str(inner)
    elif how == "swap":
        other = dice.choice(keys)
        node[key], node[other] = node[other], inner
    elif how == "rename" and isinstance(node, dict) and isinstance(key, str):
        name = str(key)
        node[dice.choice((name.upper(), f"{name}_", "\x00", name[::-1], ""))] = node.pop(key)
    elif isinstance(node, dict):
        key = dice.choice(_KEYS)
        value = dice.choice((*_VALUES, *(_RAW.format(i) for i in range(len(_TEXTS)))))
        node[key] = copy.deepcopy(value)
        where = f"{where} beside it {key}"
    return f"{how} {where} -> {str(node.get(key) if isinstance(node, dict) else '')[:60]}"


class Slow(BaseException):
    """Raised in a case that takes too long; nothing on the way catches it as an error of the libraries."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise Slow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


TOKENS = torch.randint(0, VOCABULARY, (1, 9), generator=torch.Generator().manual_seed(3))


def outcome(folder: Path) -> str:
    """'refused' or 'same'; AssertionError for another model than transformers', and whatever else comes out."""
    from transformers import AutoModelForCausalLM

    with time_limit(LIMIT_S):
        try:
            weights = load_checkpoint(folder).weights
        except ModelError as error:
            text = str(error)
            assert "\n" not in text, text
            assert len(text) < 3000, text[:3000]
            return "refused"
    tokens = TOKENS[:, : weights.config.max_positions] % weights.config.d_vocab
    module: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        reference = module.eval()(tokens, return_dict=True, use_cache=False).logits
    torch.testing.assert_close(plain_forward(weights, tokens), reference, atol=1e-4, rtol=1e-4)
    return "same"


def try_one(bases: dict[str, Path], work: Path, seed: int) -> tuple[str, str]:
    """(what was done, outcome) of the case with this seed."""
    dice = random.Random(seed)
    base = dice.choice(sorted(bases))
    folder = work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bases[base], folder)
    done = f"{base}, {mutated(folder, dice)}"
    return done, outcome(folder)


def main(count: int, first: int = 0) -> int:
    import resource
    import traceback

    resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))
    found, slowest = Counter[str](), (0.0, "")
    with tempfile.TemporaryDirectory() as work:
        bases = build_bases(Path(work) / "bases")
        outcome(bases["llama"])  # imports everything, before any time counts
        for seed in range(first, first + count):
            began = time.monotonic()
            done = ""
            try:
                done, result = try_one(bases, Path(work), seed)
                found[result] += 1
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                found["WRONG"] += 1
                last = traceback.extract_tb(error.__traceback__)[-1]
                sys.stdout.write(
                    f"seed {seed}: {type(error).__name__} {str(error)[:300]!r} at {last.filename}:{last.lineno}\n"
                )
            slowest = max(slowest, (time.monotonic() - began, f"seed {seed}: {done}"))
    sys.stdout.write(f"{dict(found)}; slowest {slowest[0]:.1f} s, {slowest[1][:200]}\n")
    return found["WRONG"]


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:]))))
