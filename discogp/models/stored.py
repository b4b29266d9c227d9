"""What the weight files of a model folder hold, told from their headers: names, shapes, dtypes; tensors one at a time.

Nothing is believed that the files are too small for, so whoever builds a model of these shapes needs memory in
proportion to the files and no more.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from discogp.errors import ModelError
from discogp.models.load_errors import first_line, load_error
from discogp.models.plain_json import read_object

_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.)+")
WRAPPER_MAPPING = {r"^(?:module\.|_orig_mod\.)+": ""}
"""What transformers is told to take off every name of a checkpoint saved from within DataParallel or torch.compile."""
_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file: its shape, and its dtype as safetensors writes it (F32, BF16, BOOL, …)."""

    shape: tuple[int, ...]
    dtype: str
    file: Path

    @property
    def numel(self) -> int:
        size = 1
        for length in self.shape:
            size *= length
        return size


@dataclass(frozen=True)
class Stored:
    """Every tensor of a folder's weight files by its name; `wrapped`: every name had a wrapper's prefix, taken off."""

    tensors: Mapping[str, StoredTensor]
    wrapped: str
    shown: str

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """(name, tensor) of these, each file opened once. ModelError for a file that cannot be read."""
        placed = sorted((str(self.tensors[name].file), name) for name in names)
        for file, group in groupby(placed, key=lambda pair: pair[0]):
            wanted = [name for _, name in group]
            if file.endswith(".bin"):
                content = _unpickled(Path(file), self.shown)
                yield from ((name, content[self.wrapped + name]) for name in wanted)
                continue
            from safetensors import safe_open

            with safe_open(file, framework="pt") as opened:
                for name in wanted:
                    yield name, opened.get_tensor(self.wrapped + name)


def stored_in(folder: Path, shown: str) -> Stored:
    """What the folder's weight files hold. ModelError where they are absent, damaged, cut short or contradict another.

    Of several kinds of files, those that transformers reads: safetensors before pickles, one file before shards.
    """
    found: dict[str, StoredTensor] = {}
    for file in _weight_files(folder, shown):
        listed = _pickle_header(file, shown) if file.suffix == ".bin" else _safetensors_header(file, shown)
        for name, tensor in listed.items():
            if name in found:
                raise ModelError(
                    f"model {shown!r}: {found[name].file.name} and {file.name} both hold {name!r}. Download it again"
                )
            found[name] = tensor
    if not found:
        raise ModelError(f"model {shown!r}: its weight files hold no tensors. Download it again")
    prefixes = {match.group() if (match := _WRAPPERS.match(name)) else "" for name in found}
    wrapped = prefixes.pop() if len(prefixes) == 1 else ""
    return Stored({name.removeprefix(wrapped): tensor for name, tensor in found.items()}, wrapped, shown)


def _weight_files(folder: Path, shown: str) -> list[Path]:
    name = next((name for name in _FILES if (folder / name).is_file()), None)
    if name is None:
        raise ModelError(
            f"model folder {shown!r} has no weights: neither model.safetensors (or its index) nor "
            "pytorch_model.bin. Download the model again, or save it with save_pretrained"
        )
    if not name.endswith(".json"):
        return [folder / name]
    placed = read_object(folder / name, shown).get("weight_map")
    values: list[Any] = list(placed.values()) if isinstance(placed, dict) else []
    suffix = ".bin" if ".bin" in name else ".safetensors"
    if not values or any(not isinstance(n, str) or Path(n).name != n or not n.endswith(suffix) for n in values):
        raise ModelError(
            f"model {shown!r}: the weight_map of {name} must name *{suffix} files of the same folder. Download it again"
        )
    names = sorted(set(values))
    absent = [n for n in names if not _is_file(folder / n)]
    if absent:
        raise ModelError(
            f"model {shown!r}: {', '.join(n[:80] for n in absent[:3])} of {len(names)} weight files missing. Download "
            "them again"
        )
    return [folder / n for n in names]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a null character
        return False


def _safetensors_header(file: Path, shown: str) -> dict[str, StoredTensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as opened:
            parts = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118  # it is no mapping
            return {n: StoredTensor(tuple(part.get_shape()), part.get_dtype(), file) for n, part in parts.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"model {shown!r}: {file.name} ({file.stat().st_size:,} bytes) is damaged or cut short: "
            f"{first_line(error)}. Download it again"
        ) from error


def _unpickled(file: Path, shown: str) -> dict[str, Tensor]:
    """Plain tensors by name, of a file whose size bounds theirs. ModelError for everything else."""
    is_zip = zipfile.is_zipfile(file)
    try:
        if is_zip:
            with zipfile.ZipFile(file) as archive:
                if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                    raise ModelError(f"model {shown!r}: {file.name} is compressed, which torch.save never does")
        content: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=is_zip)
    except ModelError:
        raise
    except Exception as error:  # whatever the pickle makes the reader raise
        raise load_error(error, shown, file.name, local=True) from error
    if not isinstance(content, dict):
        raise ModelError(
            f"model {shown!r}: {file.name} holds a {type(content).__name__}, not parameters by name. Save the "
            "model's state_dict, or use safetensors files"
        )
    for name, value in content.items():
        if not isinstance(name, str) or not _is_plain(value):
            raise ModelError(
                f"model {shown!r}: {str(name)[:80]!r} in {file.name} is no plain tensor. Save the model's state_dict, "
                "or use safetensors files"
            )
    sizes = sum(value.numel() * value.element_size() for value in content.values())
    if sizes > 2 * file.stat().st_size:  # a tied head is stored once and named twice
        raise ModelError(
            f"model {shown!r}: {file.name} names tensors of {sizes:,} bytes but has {file.stat().st_size:,}. "
            "Download it again"
        )
    return content


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_quantized
        and value.device.type == "cpu"
    )


_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int32: "I32",
    torch.int64: "I64",
}


def _pickle_header(file: Path, shown: str) -> dict[str, StoredTensor]:
    return {
        name: StoredTensor(tuple(tensor.shape), _DTYPES.get(tensor.dtype, str(tensor.dtype)), file)
        for name, tensor in _unpickled(file, shown).items()
    }
