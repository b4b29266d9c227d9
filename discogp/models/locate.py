"""Where a model is: names, paths and hub names told apart, and a local folder checked by its files.

Every refusal is a ModelError with the name that was given, the reason, and what to pass instead.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from discogp.errors import ModelError
from discogp.models import registry
from discogp.models.plain_json import read_object
from discogp.paths import user_path

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)

_READ_WHOLE = (".json", ".model", ".txt", ".jinja", ".vocab", ".tiktoken")
_MAX_BYTES = 128 * 2**20
"""Gemma's tokenizer.json, the largest of the families, has 33 MB."""


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
    path = user_path(name, ModelError) if name.startswith("~") else Path(name)
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


def read_config(folder: Path, shown: str) -> dict[str, Any]:
    """The content of a folder's config.json. ModelError, with a clearer reason than the loaders give, where the folder
    is no checkpoint."""
    try:
        files = {entry.name: entry.stat().st_size for entry in sorted(folder.iterdir()) if entry.is_file()}
        names = sorted(entry.name for entry in folder.iterdir())[:6]
    except OSError as error:
        raise ModelError(f"model folder {shown!r} cannot be read ({error.strerror}). Check its permissions") from error
    if "adapter_config.json" in files:
        raise ModelError(
            f"model folder {shown!r} holds an adapter (adapter_config.json), which is no model, or changes one while "
            "it is loaded. Merge it into its base model, save that, and pass its folder"
        )
    if "config.json" not in files:
        raise ModelError(
            f"model folder {shown!r} has no config.json "
            f"({'it holds ' + ', '.join(names) if names else 'it is empty'}). Pass a folder as "
            "save_pretrained writes it: config.json, *.safetensors, tokenizer files"
        )
    for name, size in files.items():
        if Path(name).suffix in _READ_WHOLE and size > _MAX_BYTES:
            raise ModelError(
                f"model {shown!r}: {name} has {size:,} bytes; of tokenizers and settings at most {_MAX_BYTES:,} are "
                "read. Download the model again"
            )
    return read_object(folder / "config.json", shown)
