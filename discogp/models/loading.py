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
import json
import logging
import os
import re
import threading
import warnings
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
from discogp.models.weights import ModelWeights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
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

    A folder, or a model that the hub's cache holds whole, is never looked up on the network; neither is a known
    model that has a folder of its own (`models get` fetches it). One load at a time: the libraries underneath
    change global state while they load. Raises ModelError.
    """
    name = _checked_name(name_or_path)
    target = _device(device)
    known = registry.find(name)
    folder, hub_name = _locate(name, known)
    shown = known.name if known else str(folder) if folder else name
    with _LOADING, _quiet():
        source = str(folder) if folder else hub_name
        if folder:
            _check_folder(folder, shown)
        local = folder is not None or registry.in_hub_cache(hub_name)
        if not local:
            _check_hub(hub_name, shown)
        row = architecture_of(_read_raw_config(source, shown, local), shown)
        hf_config = _read_config(source, shown, local)
        check_shape(row, hf_config)
        tokenizer = _read_tokenizer(source, shown, folder, local)
        module = _read_module(source, shown, hf_config, local)
        parameters = _bridge_parameters(row, source, shown, module, tokenizer)
        try:
            weights = extract(row, module.config, parameters)
        except ModelError as error:
            raise ModelError(f"Model {shown!r}: {error}") from error
    if tokenizer is not None and len(tokenizer) > weights.config.d_vocab:
        raise ModelError(
            f"Model {shown!r}: its tokenizer knows {len(tokenizer)} tokens but the model only "
            f"{weights.config.d_vocab}. The two do not belong together; put the model's own tokenizer files "
            "in the folder."
        )
    title = known.title if known else folder.name if folder else name
    return Checkpoint(_moved(weights, target, shown), tokenizer, _bos_id(tokenizer), shown, title)


# --- finding ------------------------------------------------------------------------------------------------


def _checked_name(name_or_path: str | os.PathLike[str]) -> str:
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise ModelError(
            f"A model is named by a text or a path, not by {type(name_or_path).__name__}. "
            f"{registry.choices()}"
        )
    name = os.fspath(name_or_path)
    if not isinstance(name, str) or not name.strip():
        raise ModelError(f"The model's name is empty. {registry.choices()}")
    if len(name) > 4096 or not name.isprintable():
        raise ModelError(
            f"Model name {name[:60]!r} is too long or holds control characters. {registry.choices()}"
        )
    return name.strip()


def _device(device: str | torch.device) -> torch.device:
    try:
        target = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ModelError(f"Device {device!r} is unknown; use 'cpu' or 'cuda'.") from error
    if target.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"Device {str(device)!r}: this machine (or this build of PyTorch) has no CUDA device; use 'cpu'."
        )
    return target


def _moved(weights: ModelWeights, device: torch.device, shown: str) -> ModelWeights:
    try:
        return weights.to(device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"Model {shown!r} could not be moved to {device}: {_first_line(error)}. Use 'cpu'."
        ) from error


def _locate(name: str, known: registry.KnownModel | None) -> tuple[Path | None, str]:
    """(local folder or None, hub name or ''). Known names win over folders of the same name beside the
    caller."""
    if known is not None:
        folder = known.folder()
        if folder is None:
            return None, known.cached_hub_name()
        if not known.available():
            raise ModelError(
                f"Model {known.name!r} is not on this machine yet: nothing complete at {folder}. "
                f"{known.how_to_get()}"
            )
        return folder, ""
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            return path.resolve(), ""
        is_file = path.exists()
    except OSError:  # a name too long for the file system is no path
        is_file = False
    if is_file:
        raise ModelError(
            f"Model {name!r} is a file; a model is a folder with config.json and *.safetensors, as "
            f"save_pretrained writes it. Pass the folder {str(path.parent)!r} if the file lies in such a "
            "one."
        )
    if name.startswith(("/", ".", "~")) or "\\" in name:
        raise ModelError(f"Model folder {name!r} does not exist. Check the path. {registry.choices()}")
    if not _HUB_NAME.fullmatch(name):
        raise ModelError(
            f"Model {name[:120]!r} is neither an existing folder nor a name on the Hugging Face hub "
            f"(owner/model: letters, digits, '-', '_', '.'). {registry.choices()}"
        )
    return None, name


def _check_folder(folder: Path, shown: str) -> None:
    """Everything about a local checkpoint that can be told from its files, with a clearer reason than the
    loaders give."""
    if not (folder / "config.json").is_file():
        found = sorted(entry.name for entry in folder.iterdir())[:6]
        if "adapter_config.json" in found:
            raise ModelError(
                f"Model folder {shown!r} holds an adapter only. Merge it into its base model, save that, "
                "and pass its folder."
            )
        raise ModelError(
            f"Model folder {shown!r} has no config.json "
            f"({'it is empty' if not found else 'it holds ' + ', '.join(found)}). Pass a folder as "
            "save_pretrained writes it: config.json, *.safetensors, tokenizer files."
        )
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"Model folder {shown!r} holds an adapter (adapter_config.json), which would change the weights "
            "while loading. Merge it into its base model, save that, and pass its folder."
        )
    _read_json(folder / "config.json", shown)
    _check_weight_files(folder, shown)


def _read_json(path: Path, shown: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelError(
            f"Model {shown!r}: {path.name} is not JSON in UTF-8 ({error}). Download the model again."
        ) from error
    except OSError as error:
        raise ModelError(
            f"Model {shown!r}: {path.name} cannot be read ({error}). Check the file's permissions."
        ) from error
    if not isinstance(content, dict):
        raise ModelError(
            f"Model {shown!r}: {path.name} must hold an object, not {type(content).__name__}. Download the "
            "model again."
        )
    return content


def _check_weight_files(folder: Path, shown: str) -> None:
    from safetensors import SafetensorError, safe_open

    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        files = [single]
    elif index.is_file():
        placed = _read_json(index, shown).get("weight_map")
        names = sorted(set(placed.values())) if isinstance(placed, dict) else []
        if not names or any(not isinstance(n, str) or Path(n).name != n for n in names):
            raise ModelError(
                f"Model {shown!r}: the weight_map of {index.name} must name files of the same folder. "
                "Download it again."
            )
        files = [folder / n for n in names]
        absent = [file.name for file in files if not file.is_file()]
        if absent:
            raise ModelError(
                f"Model {shown!r}: {', '.join(absent[:3])} of {len(files)} weight files missing. Download "
                "them again."
            )
    elif any((folder / n).is_file() for n in ("pytorch_model.bin", "pytorch_model.bin.index.json")):
        return
    else:
        raise ModelError(
            f"Model folder {shown!r} has no weights: neither model.safetensors (or its index) nor "
            "pytorch_model.bin. Download the model again, or save it with save_pretrained."
        )
    for file in files:
        try:
            with safe_open(str(file), framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"Model {shown!r}: {file.name} ({file.stat().st_size:,} bytes) is damaged or cut short: "
                f"{_first_line(error)}. Download it again."
            ) from error


# --- reading ------------------------------------------------------------------------------------------------


def _check_hub(hub_name: str, shown: str) -> None:
    """One quick question to the hub: the loaders would ask six times, half a minute long, before giving up."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(hub_name, timeout=15)
    except Exception as error:
        raise _load_error(error, shown, "its page on the hub", local=False) from error


def _read_raw_config(source: str, shown: str, local: bool) -> Mapping[str, Any]:
    from transformers import PreTrainedConfig

    try:
        return PreTrainedConfig.get_config_dict(source, local_files_only=local)[0]
    except Exception as error:  # the loaders raise whatever a damaged or foreign file makes them raise
        raise _load_error(error, shown, "its configuration", local) from error


def _read_config(source: str, shown: str, local: bool) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False, local_files_only=local)
    except Exception as error:
        raise _load_error(error, shown, "its configuration", local) from error


def _read_tokenizer(
    source: str, shown: str, folder: Path | None, local: bool
) -> PreTrainedTokenizerBase | None:
    """The checkpoint's tokenizer; None where the folder has no tokenizer files."""
    if folder and not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=False, local_files_only=local)
    except Exception as error:
        raise _load_error(error, shown, "its tokenizer", local) from error


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
            output_loading_info=True,
        )
    except Exception as error:
        raise _load_error(error, shown, "its weights", local) from error
    # transformers only warns about these, and fills what is missing with random numbers.
    for key, meaning in (
        ("missing_keys", "are missing from its weight files"),
        ("mismatched_keys", "have another shape than config.json asks for"),
        ("unexpected_keys", "are in its weight files but not in the architecture"),
    ):
        names = sorted(str(entry[0] if isinstance(entry, tuple) else entry) for entry in info.get(key) or ())
        if names:
            raise ModelError(
                f"Model {shown!r}: {len(names)} parameters {meaning} "
                f"({', '.join(names[:3])}{' …' if len(names) > 3 else ''}). config.json and the weights do "
                "not belong together; download the model again."
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
        raise _load_error(error, shown, "its modules (TransformerBridge)", local=True) from error
    # The bridge wraps submodules in place and keeps each one as `_original_component`.
    return {
        name.replace("._original_component", ""): t for name, t in bridge.original_model.state_dict().items()
    }


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


# --- errors and noise ---------------------------------------------------------------------------------------


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:300]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _load_error(error: Exception, shown: str, what: str, local: bool) -> ModelError:
    """A ModelError for whatever transformers, safetensors or the hub raised."""
    kinds = {kind.__name__ for link in _chain(error) for kind in type(link).__mro__}
    text = _first_line(error)
    if not local:
        if "GatedRepoError" in kinds:
            return ModelError(
                f"Model {shown!r} asks for its licence to be accepted. Accept it on "
                f"https://huggingface.co/{shown}, set HF_TOKEN to an access token, and try again."
            )
        if "RepositoryNotFoundError" in kinds or "not a valid model identifier" in str(error):
            return ModelError(
                f"Model {shown!r} is not on the Hugging Face hub (or is private), and no folder of that "
                f"name exists here. {registry.choices(shown)}"
            )
        if kinds & {
            "LocalEntryNotFoundError",
            "OfflineModeIsEnabled",
            "ConnectError",
            "ConnectionError",
            "ConnectTimeout",
        } or ("couldn't connect" in text or "offline mode" in text):
            return ModelError(
                f"Model {shown!r} is not on this machine, and the Hugging Face hub cannot be reached from "
                "here. Set up the network (or a proxy: HTTPS_PROXY); or download the model on a connected "
                "machine and pass its folder; or use 'mini' (embedded) or 'smollm2-135m' (from the Python "
                f"package index). {registry.choices(shown)}"
            )
    if "Weights only load failed" in str(error) or "UnpicklingError" in kinds:
        return ModelError(
            f"Model {shown!r}: its pickled weights are damaged or would run code when read; only plain "
            "tensors are accepted (weights_only). Use a checkpoint with safetensors files."
        )
    return ModelError(
        f"Model {shown!r}: {what} could not be read: {text}. The files are damaged or foreign; download the "
        "model again, or pass another one."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no advice of the libraries on standard error while a model loads: errors say what
    matters."""
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    verbosity = transformers_logging.get_verbosity()
    root = logging.getLogger()
    level = root.level
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    root.setLevel(max(level, logging.ERROR))  # TransformerLens logs on the root logger
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
