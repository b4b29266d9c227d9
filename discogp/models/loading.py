"""From a name or a folder to a `Checkpoint`: weights, tokenizer, and the token that opens a text.

The way is always the same: find the model, read its config, look its architecture up in the table, load it
with transformers, and read the weights out of its module. A model of the hub goes through TransformerLens's
`TransformerBridge` before that, which refuses what it does not know; for a folder the table and its checks alone
decide, and the numbers are the same: the bridge keeps the module's parameters as they are. Everything that can go
wrong on the way is raised as a ModelError with the model's name, the reason and a next step.

Nothing that comes with a checkpoint is executed: `trust_remote_code` is never set, safetensors files are
preferred, and pickled `.bin` files are read with `weights_only=True`, which refuses every pickle that does
more than rebuild tensors.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from discogp.errors import ModelError, brief
from discogp.models import registry
from discogp.models.architectures import Architecture, architecture_of, extract
from discogp.models.bounds import check_room, check_shape
from discogp.models.claims import check_claims
from discogp.models.leftovers import is_leftover, leftover_notes
from discogp.models.load_errors import first_line, load_error, named, quiet
from discogp.models.locate import checked_name, locate, read_config
from discogp.models.stored import WRAPPER_MAPPING, Stored, stored_in
from discogp.models.turns import give_way
from discogp.models.weights import ModelWeights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")
_SPARE_IDS = 100_000
_LOADING = threading.Lock()


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model: what the engine needs, and nothing of the libraries that read it except the tokenizer.

    `bos_id` is the token the model expects before a text (None: none). `name` loads the same model again. `notes`: in
    what its files differ from its model without changing a logit.
    """

    weights: ModelWeights
    tokenizer: PreTrainedTokenizerBase | None
    bos_id: int | None
    name: str
    title: str
    notes: tuple[str, ...] = ()


def load_checkpoint(name_or_path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Checkpoint:
    """Load a known model, a Hugging Face folder, or a model from the hub, as fp32 weights on `device`.

    A folder, or a model that the hub's cache holds whole, is never looked up on the network; neither is a
    known model that has a folder of its own (`models get` fetches it). One load at a time: the libraries
    underneath change global state while they load. Raises ModelError.
    """
    target = usable_device(device)
    with open_checkpoint(name_or_path) as opened:
        shown, title, tokenizer = opened.name, opened.title, opened.tokenizer
        parameters = None
        if opened.from_hub:
            parameters = _bridge_parameters(opened.row, opened.folder, shown, opened.module, tokenizer)
        give_way()
        weights = opened.extract(parameters)
        notes = opened.notes(weights)
        del opened, parameters
    _release_memory()
    bos_id, more = _within_vocabulary(tokenizer, _bos_id(tokenizer), weights.config.d_vocab)
    return Checkpoint(_moved(weights, target, shown), tokenizer, bos_id, shown, title, notes + more)


@dataclass
class Opened:
    """A checkpoint as transformers reads it, fp32, before anything is taken out of it."""

    row: Architecture
    module: Any
    tokenizer: PreTrainedTokenizerBase | None
    name: str
    title: str
    folder: Path
    stored: Stored
    from_hub: bool

    def parameters(self) -> dict[str, Tensor]:
        """The module's parameters under their Hugging Face names."""
        return self.module.state_dict()

    def extract(self, parameters: Mapping[str, Tensor] | None = None) -> ModelWeights:
        """These parameters, or the module's own, in this package's layout. ModelError for what is not reproduced."""
        with named(self.name):
            return extract(self.row, self.module.config, self.parameters() if parameters is None else parameters)

    def notes(self, weights: ModelWeights) -> tuple[str, ...]:
        """What its files hold beside the parameters of `weights`. ModelError where that is of another model."""
        return _head_note(self.module, self.stored) + leftover_notes(self.stored, weights)


@contextmanager
def open_checkpoint(name_or_path: str | os.PathLike[str]) -> Iterator[Opened]:
    """Read a checkpoint and keep others from being read meanwhile. ModelError as for `load_checkpoint`."""
    name = checked_name(name_or_path)
    known = registry.find(name)
    folder, hub_name = locate(name, known)
    shown = known.name if known else str(folder) if folder else name
    from_hub = folder is None
    give_way()
    with _LOADING, quiet():
        title = known.title if known else folder.name if folder else name
        if folder is None:
            folder = _hub_folder(hub_name, shown)
        raw_config = read_config(folder, shown)
        row = architecture_of(raw_config, shown)
        check_claims(raw_config, shown)
        stored = stored_in(folder, shown)
        hf_config = _read_config(folder, shown)
        with named(shown):
            check_shape(row, hf_config)
            check_room(row, hf_config, stored)
        give_way()
        tokenizer = _read_tokenizer(folder, shown)
        give_way()
        module = _read_module(folder, shown, hf_config, stored)
        give_way()
        yield Opened(row, module, tokenizer, shown, title, folder, stored, from_hub)


def _release_memory() -> None:
    """Give the memory of the module and its bridge back to the system.

    The bridge is full of reference cycles, and the C library keeps what it freed: without this a process that has
    loaded SmolLM2 holds 1,480 MB instead of 1,050, and more with every load.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:  # glibc only
        trim(0)


def usable_device(device: str | torch.device) -> torch.device:
    """A device that numbers can be put on and read from. ModelError for every other."""
    try:
        target = torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"device {brief(device)} is unknown; use 'cpu' or 'cuda'") from error
    if target.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"device {str(device)!r}: this machine (or this build of PyTorch) has no CUDA device; use 'cpu'"
        )
    try:
        torch.ones(1, device=target).add(1).item()  # 'meta' and others exist by name only
    except (RuntimeError, NotImplementedError, AssertionError, ImportError, ValueError) as error:
        raise ModelError(f"device {str(device)!r} cannot compute here: {first_line(error)}. Use 'cpu'") from error
    return target


def _moved(weights: ModelWeights, device: torch.device, shown: str) -> ModelWeights:
    try:
        return weights.to(device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"model {shown!r} could not be moved to {device}: {first_line(error)}. Use 'cpu'") from error


def _hub_folder(hub_name: str, shown: str) -> Path:
    """The folder of a model of the hub in the hub's cache, where it is fetched first unless it is there whole."""
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache

    if registry.in_hub_cache(hub_name):
        return Path(str(try_to_load_from_cache(hub_name, "config.json"))).parent
    try:
        # One quick question first: the loaders would ask six times over half a minute.
        there = {file.rfilename for file in HfApi().model_info(hub_name, timeout=15).siblings or ()}
        weights = (
            "*.safetensors" if any(f.startswith("model") and f.endswith(".safetensors") for f in there) else "*.bin"
        )
        wanted = [name for name in there if "/" not in name and not name.startswith("consolidated")]
        patterns = ("*.json", "*.model", "*.txt", "*.jinja", weights)
        wanted = [name for name in wanted if any(fnmatch(name, pattern) for pattern in patterns)]
        return Path(snapshot_download(hub_name, allow_patterns=wanted))
    except Exception as error:
        raise load_error(error, shown, "its page on the hub", local=False) from error


def _read_config(folder: Path, shown: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the loaders raise whatever a damaged or foreign file makes them raise
        raise load_error(error, shown, "its configuration", local=True) from error


def _read_tokenizer(folder: Path, shown: str) -> PreTrainedTokenizerBase | None:
    """The checkpoint's tokenizer; None where the folder has no tokenizer files."""
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        return None
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise load_error(error, shown, "its tokenizer", local=True) from error
    vocabulary = tokenizer.get_vocab()
    highest = max(vocabulary.values(), default=0)
    if highest > 2 * len(vocabulary) + _SPARE_IDS:  # the tokenizer's own code counts through all of them
        raise ModelError(
            f"model {shown!r}: its tokenizer numbers {len(vocabulary):,} tokens up to {highest:,}. Its files are "
            "damaged; download the model again"
        )
    return tokenizer


def _read_module(folder: Path, shown: str, hf_config: Any, stored: Stored) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        module, info = AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]  # a pair, because of the last
            str(folder),
            config=hf_config,
            key_mapping=WRAPPER_MAPPING if stored.wrapped else None,
            dtype=torch.float32,
            attn_implementation="eager",
            trust_remote_code=False,
            local_files_only=True,
            weights_only=True,
            ignore_mismatched_sizes=True,  # so that they are reported by name, and refused below
            output_loading_info=True,
        )
    except Exception as error:
        raise load_error(error, shown, "its weights", local=True) from error
    # transformers only warns about these, and fills what is missing with random numbers.
    for key, meaning in (
        ("missing_keys", "are missing from its weight files"),
        ("mismatched_keys", "have another shape than config.json asks for"),
        ("unexpected_keys", "are in its weight files but not in the architecture"),
    ):
        names = sorted(str(entry[0] if isinstance(entry, tuple) else entry) for entry in info.get(key) or ())
        names = [name for name in names if key != "unexpected_keys" or not is_leftover(name)]  # looked at later
        if names:
            raise ModelError(
                f"model {shown!r}: {len(names)} parameters {meaning} "
                f"({', '.join(names[:3])}{' …' if len(names) > 3 else ''}). config.json and the weights do "
                "not belong together; download the model again"
            )
    return module.eval()


def _head_note(module: Any, stored: Stored) -> tuple[str, ...]:
    """What to tell of a head that is stored although it is the embedding. ModelError where the two differ: transformers
    then takes the stored one, against what the config says."""
    if not module.config.tie_word_embeddings or "lm_head.weight" not in stored.tensors:
        return ()
    head, embedding = module.get_output_embeddings().weight, module.get_input_embeddings().weight
    if not torch.equal(head, embedding):
        raise ModelError(
            f"model {stored.shown!r}: config.json ties the head to the embedding (tie_word_embeddings), but the weight "
            "files hold a 'lm_head.weight' with other numbers. Set tie_word_embeddings to false if the stored head is "
            "meant, or pass another checkpoint"
        )
    return ("the weight files hold the head that config.json ties to the embedding once more, and it is the same",)


def _within_vocabulary(
    tokenizer: PreTrainedTokenizerBase | None, bos_id: int | None, d_vocab: int
) -> tuple[int | None, tuple[str, ...]]:
    """The opening token unless the model has none of that number; and what to tell of a tokenizer of another size."""
    if tokenizer is None:
        return None, ()
    known = max(tokenizer.get_vocab().values(), default=-1) + 1
    if known < d_vocab:
        return bos_id, (f"the model has {d_vocab:,} embeddings for the {known:,} tokens of its tokenizer",)
    if known == d_vocab:
        return bos_id, ()
    notes = (
        f"the tokenizer knows {known:,} tokens, the model only the first {d_vocab:,}; prompts and answers that need "
        "others are dropped",
    )
    if bos_id is None or bos_id < d_vocab:
        return bos_id, notes
    return None, (*notes, f"the token that opens a text ({tokenizer.bos_token}) is among those, so none is put first")


def _bridge_parameters(
    row: Architecture, folder: Path, shown: str, module: Any, tokenizer: PreTrainedTokenizerBase | None
) -> Mapping[str, Tensor]:
    """The parameters under their Hugging Face names, out of the module that the TransformerBridge holds."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    try:
        if tokenizer is None:  # boot_transformers would look for one on the hub
            bridge = build_bridge_from_module(module, row.name, hf_config=module.config, model_name=str(folder))
        else:
            # A copy: the bridge adds padding and opening tokens to the tokenizer that it is given.
            bridge = TransformerBridge.boot_transformers(  # type: ignore[attr-defined]  # attached when the package is imported
                str(folder), hf_model=module, tokenizer=copy.deepcopy(tokenizer), device="cpu", dtype=torch.float32
            )
    except Exception as error:
        raise load_error(error, shown, "its modules (TransformerBridge)", local=True) from error
    # The bridge wraps submodules in place and keeps each one as `_original_component`.
    return {name.replace("._original_component", ""): t for name, t in bridge.original_model.state_dict().items()}


_DOCUMENT_START = "<|endoftext|>"


def _bos_id(tokenizer: PreTrainedTokenizerBase | None) -> int | None:
    """The tokenizer's own opening token, except where that opens a chat turn.

    SmolLM2 states `<|im_start|>`, but its pretraining texts were parted by `<|endoftext|>`; with the former
    in front, plain prompts get markedly worse.
    """
    if tokenizer is None:
        return None
    if tokenizer.bos_token == "<|im_start|>":
        vocabulary = tokenizer.get_vocab()
        return vocabulary.get(_DOCUMENT_START)
    return tokenizer.bos_token_id  # type: ignore[return-value]
