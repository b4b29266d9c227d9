"""Where a model is: names, paths and hub names told apart, and a local folder checked by its files.

Every refusal is a ModelError with the name that was given, the reason, and what to pass instead.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from discogp.errors import ModelError
from discogp.models import registry
from discogp.models.load_errors import first_line

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)


def checked_name(name_or_path: str | os.PathLike[str]) -> str:
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise ModelError(
            f"a model is named by a text or a path, not by {type(name_or_path).__name__}. {registry.choices()}"
        )
    name = os.fspath(name_or_path)
    if not isinstance(name, str) or not name.strip():
        raise ModelError(f"the model's name is empty. {registry.choices()}")
    if len(name) > 4096 or not name.isprintable():
        raise ModelError(f"model name {name[:60]!r} is too long or holds control characters. {registry.choices()}")
    return name.strip()


def locate(name: str, known: registry.KnownModel | None) -> tuple[Path | None, str]:
    """(local folder or None, hub name or ''). Known names win over folders of the same name beside the
    caller."""
    if known is not None:
        folder = known.folder()
        if folder is None:
            return None, known.cached_hub_name()
        if not known.available():
            raise ModelError(
                f"model {known.name!r} is not on this machine yet: nothing complete at {folder}. {known.how_to_get()}"
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
            f"model {name!r} is a file; a model is a folder with config.json and *.safetensors, as "
            f"save_pretrained writes it. Pass the folder {str(path.parent)!r} if the file lies in such a "
            "one"
        )
    if name.startswith(("/", ".", "~")) or "\\" in name:
        raise ModelError(f"model folder {name!r} does not exist. Check the path. {registry.choices()}")
    if not _HUB_NAME.fullmatch(name):
        raise ModelError(
            f"model {name[:120]!r} is neither an existing folder nor a name on the Hugging Face hub "
            f"(owner/model: letters, digits, '-', '_', '.'). {registry.choices()}"
        )
    return None, name


def check_folder(folder: Path, shown: str) -> None:
    """Everything about a local checkpoint that can be told from its files, with a clearer reason than the
    loaders give."""
    if not (folder / "config.json").is_file():
        found = sorted(entry.name for entry in folder.iterdir())[:6]
        if "adapter_config.json" in found:
            raise ModelError(
                f"model folder {shown!r} holds an adapter only. Merge it into its base model, save that, "
                "and pass its folder"
            )
        raise ModelError(
            f"model folder {shown!r} has no config.json "
            f"({'it is empty' if not found else 'it holds ' + ', '.join(found)}). Pass a folder as "
            "save_pretrained writes it: config.json, *.safetensors, tokenizer files"
        )
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"model folder {shown!r} holds an adapter (adapter_config.json), which would change the weights "
            "while loading. Merge it into its base model, save that, and pass its folder"
        )
    _read_json(folder / "config.json", shown)
    _check_weight_files(folder, shown)


def _read_json(path: Path, shown: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelError(
            f"model {shown!r}: {path.name} is not JSON in UTF-8 ({error}). Download the model again"
        ) from error
    except OSError as error:
        raise ModelError(
            f"model {shown!r}: {path.name} cannot be read ({error}). Check the file's permissions"
        ) from error
    if not isinstance(content, dict):
        raise ModelError(
            f"model {shown!r}: {path.name} must hold an object, not {type(content).__name__}. Download the model again"
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
                f"model {shown!r}: the weight_map of {index.name} must name files of the same folder. Download it again"
            )
        files = [folder / n for n in names]
        absent = [file.name for file in files if not file.is_file()]
        if absent:
            raise ModelError(
                f"model {shown!r}: {', '.join(absent[:3])} of {len(files)} weight files missing. Download them again"
            )
    elif any((folder / n).is_file() for n in ("pytorch_model.bin", "pytorch_model.bin.index.json")):
        return
    else:
        raise ModelError(
            f"model folder {shown!r} has no weights: neither model.safetensors (or its index) nor "
            "pytorch_model.bin. Download the model again, or save it with save_pretrained"
        )
    for file in files:
        try:
            with safe_open(str(file), framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"model {shown!r}: {file.name} ({file.stat().st_size:,} bytes) is damaged or cut short: "
                f"{first_line(error)}. Download it again"
            ) from error
