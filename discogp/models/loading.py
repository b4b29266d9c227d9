"""From a name or a folder to a `Checkpoint`: weights, tokenizer, and the token that opens a text.

The way is always the same: find the model, read its config, look its architecture up in the table, load it
with transformers, hand it to TransformerLens's `TransformerBridge`, and read the weights out of the bridge's
module. Everything that can go wrong on the way is raised as a ModelError with the model's name, the reason
and a next step.

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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from discogp.errors import ModelError
from discogp.models import registry
from discogp.models.architectures import Architecture, architecture_of, check_shape, extract
from discogp.models.load_errors import first_line, load_error, named, quiet
from discogp.models.locate import check_folder, checked_name, locate
from discogp.models.weights import ModelWeights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")
_LOADING = threading.Lock()


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model: what the engine needs, and nothing of the libraries that read it except the tokenizer.

    `bos_id` is the token the model expects before a text (None: none). `name` loads the same model again.
    """

    weights: ModelWeights
    tokenizer: PreTrainedTokenizerBase | None
    bos_id: int | None
    name: str
    title: str


def load_checkpoint(name_or_path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Checkpoint:
    """Load a known model, a Hugging Face folder, or a model from the hub, as fp32 weights on `device`.

    A folder, or a model that the hub's cache holds whole, is never looked up on the network; neither is a
    known model that has a folder of its own (`models get` fetches it). One load at a time: the libraries
    underneath change global state while they load. Raises ModelError.
    """
    target = usable_device(device)
    with open_checkpoint(name_or_path) as opened:
        shown, title, tokenizer = opened.name, opened.title, opened.tokenizer
        parameters = _bridge_parameters(opened.row, opened.source, shown, opened.module, tokenizer)
        weights = opened.extract(parameters)
        del opened, parameters
    _release_memory()
    if tokenizer is not None and len(tokenizer) > weights.config.d_vocab:
        raise ModelError(
            f"model {shown!r}: its tokenizer knows {len(tokenizer)} tokens but the model only "
            f"{weights.config.d_vocab}. The two do not belong together; put the model's own tokenizer files "
            "in the folder"
        )
    return Checkpoint(_moved(weights, target, shown), tokenizer, _bos_id(tokenizer), shown, title)


@dataclass
class Opened:
    """A checkpoint as transformers reads it, fp32, before anything is taken out of it. `source`: folder or hub name."""

    row: Architecture
    module: Any
    tokenizer: PreTrainedTokenizerBase | None
    name: str
    title: str
    source: str

    def parameters(self) -> dict[str, Tensor]:
        """The module's parameters under their Hugging Face names."""
        return self.module.state_dict()

    def extract(self, parameters: Mapping[str, Tensor] | None = None) -> ModelWeights:
        """These parameters, or the module's own, in this package's layout. ModelError for what is not reproduced."""
        with named(self.name):
            return extract(self.row, self.module.config, self.parameters() if parameters is None else parameters)


@contextmanager
def open_checkpoint(name_or_path: str | os.PathLike[str]) -> Iterator[Opened]:
    """Read a checkpoint and keep others from being read meanwhile. ModelError as for `load_checkpoint`."""
    name = checked_name(name_or_path)
    known = registry.find(name)
    folder, hub_name = locate(name, known)
    shown = known.name if known else str(folder) if folder else name
    with _LOADING, quiet():
        source = str(folder) if folder else hub_name
        if folder:
            check_folder(folder, shown)
        local = folder is not None or registry.in_hub_cache(hub_name)
        if not local:
            _check_hub(hub_name, shown)
        row = architecture_of(_read_raw_config(source, shown, local), shown)
        hf_config = _read_config(source, shown, local)
        with named(shown):
            check_shape(row, hf_config)
        tokenizer = _read_tokenizer(source, shown, folder, local)
        module = _read_module(source, shown, hf_config, local)
        yield Opened(row, module, tokenizer, shown, known.title if known else folder.name if folder else name, source)


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
    try:
        target = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ModelError(f"device {device!r} is unknown; use 'cpu' or 'cuda'") from error
    if target.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"device {str(device)!r}: this machine (or this build of PyTorch) has no CUDA device; use 'cpu'"
        )
    return target


def _moved(weights: ModelWeights, device: torch.device, shown: str) -> ModelWeights:
    try:
        return weights.to(device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"model {shown!r} could not be moved to {device}: {first_line(error)}. Use 'cpu'") from error


def _check_hub(hub_name: str, shown: str) -> None:
    """One quick question to the hub: the loaders would ask six times over half a minute."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(hub_name, timeout=15)
    except Exception as error:
        raise load_error(error, shown, "its page on the hub", local=False) from error


def _read_raw_config(source: str, shown: str, local: bool) -> Mapping[str, Any]:
    from transformers import PreTrainedConfig

    try:
        return PreTrainedConfig.get_config_dict(source, local_files_only=local)[0]
    except Exception as error:  # the loaders raise whatever a damaged or foreign file makes them raise
        raise load_error(error, shown, "its configuration", local) from error


def _read_config(source: str, shown: str, local: bool) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False, local_files_only=local)
    except Exception as error:
        raise load_error(error, shown, "its configuration", local) from error


def _read_tokenizer(source: str, shown: str, folder: Path | None, local: bool) -> PreTrainedTokenizerBase | None:
    """The checkpoint's tokenizer; None where the folder has no tokenizer files."""
    if folder and not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False, local_files_only=local)
    except Exception as error:
        raise load_error(error, shown, "its tokenizer", local) from error


def _read_module(source: str, shown: str, hf_config: Any, local: bool) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        module, info = AutoModelForCausalLM.from_pretrained(  # type: ignore[misc]  # a pair, because of the last
            source,
            config=hf_config,
            dtype=torch.float32,
            attn_implementation="eager",
            trust_remote_code=False,
            local_files_only=local,
            weights_only=True,
            ignore_mismatched_sizes=True,  # so that they are reported by name, and refused below
            output_loading_info=True,
        )
    except Exception as error:
        raise load_error(error, shown, "its weights", local) from error
    # transformers only warns about these, and fills what is missing with random numbers.
    for key, meaning in (
        ("missing_keys", "are missing from its weight files"),
        ("mismatched_keys", "have another shape than config.json asks for"),
        ("unexpected_keys", "are in its weight files but not in the architecture"),
    ):
        names = sorted(str(entry[0] if isinstance(entry, tuple) else entry) for entry in info.get(key) or ())
        if names:
            raise ModelError(
                f"model {shown!r}: {len(names)} parameters {meaning} "
                f"({', '.join(names[:3])}{' …' if len(names) > 3 else ''}). config.json and the weights do "
                "not belong together; download the model again"
            )
    return module.eval()


def _bridge_parameters(
    row: Architecture, source: str, shown: str, module: Any, tokenizer: PreTrainedTokenizerBase | None
) -> Mapping[str, Tensor]:
    """The parameters under their Hugging Face names, out of the module that the TransformerBridge holds."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    try:
        if tokenizer is None:  # boot_transformers would look for one on the hub
            bridge = build_bridge_from_module(module, row.name, hf_config=module.config, model_name=source)
        else:
            # A copy: the bridge adds padding and opening tokens to the tokenizer that it is given.
            bridge = TransformerBridge.boot_transformers(  # type: ignore[attr-defined]  # attached when the package is imported
                source, hf_model=module, tokenizer=copy.deepcopy(tokenizer), device="cpu", dtype=torch.float32
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
