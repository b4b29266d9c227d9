"""Interrupt and continue: the state of a search in one file, and what it must agree with to be gone on with.

A checkpoint is written to a temporary file which then takes the place of the one before, so that whenever a process is
killed, a whole one is there. It holds mask logits, optimizer, random-number generators, the order of prompts, history
and the best candidate: a search that goes on from it ends with the circuit it would have ended with, bit for bit.
Only tensors and plain values are stored, and nothing else is ever unpickled.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from discogp.errors import ArtifactError, ConfigError
from discogp.paths import replaced_file

_FORMAT = 1
_SHOWN = 5  # differences named in an error


class CheckpointFile:
    """The checkpoint of one search, at one path. `identity`: what it must agree with (`discogp.search.identity`)."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.identity = dict(identity)

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a state atomically. ArtifactError if the disk does not take it; the file before stays."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            whole = as_tensors(state)
            content = {
                "format": _FORMAT,
                "identity": self.identity,
                "sha256": _sum(self.identity, whole),
                "state": whole,
            }
            with replaced_file(self.path, sync=True) as temporary, temporary.open("wb") as file:
                torch.save(content, file)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            raise ArtifactError(
                f"the checkpoint {self.path} cannot be written: {error}. Free space, or set checkpoint_every to 0"
            ) from error

    def load(self) -> dict[str, Any]:
        """The state last saved, on the CPU.

        ConfigError if there is none, or naming what it was made with and what is given now where these differ;
        ArtifactError if it is damaged. The file is left as it is.
        """
        stored = read(self.path)
        differing = _differences(stored["identity"], self.identity)
        if differing:
            more = f" (and {len(differing) - _SHOWN} more)" if len(differing) > _SHOWN else ""
            raise ConfigError(
                f"{self.path} belongs to another search: {'; '.join(differing[:_SHOWN])}{more}. Give the same model, "
                "task and settings, or start anew without resuming"
            )
        return as_arrays(stored["state"])


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; ConfigError if there is none, ArtifactError if it cannot be read."""
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(data, dict) or data.get("format") != _FORMAT or not {"identity", "state"} <= set(data):
            raise ValueError(f"it is not a checkpoint of format {_FORMAT}")
        older = "sha256" not in data and data.get("checksum") == _older_sum(data["state"])
        if not older and data.get("sha256") != _sum(data["identity"], data["state"]):
            raise ValueError("its checksum is wrong")
    except FileNotFoundError:
        raise ConfigError(f"there is no checkpoint at {path}; start the search without resuming") from None
    # Damaged bytes make an unpickler raise whatever they spell, as its documentation says.
    except Exception as error:
        words = str(error).strip().splitlines()
        raise ArtifactError(
            f"the checkpoint {path} cannot be read (cut short or damaged?): {words[0][:200] if words else 'empty'}. "
            "It is left as it is; start the search without resuming"
        ) from error
    return data


def as_tensors(value: Any) -> Any:
    """The same nested data with tensors in place of arrays."""
    if isinstance(value, Mapping):
        return {key: as_tensors(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(as_tensors(item) for item in value)
    if isinstance(value, np.ndarray):
        return _Array.of(value)
    return value.item() if isinstance(value, np.generic) else value


def as_arrays(value: Any) -> Any:
    """The reverse."""
    if isinstance(value, Mapping):
        return _Array.back(value) if _Array.MARK in value else {key: as_arrays(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(as_arrays(item) for item in value)
    return value


class _Array:
    """A NumPy array among tensors, marked as such."""

    MARK = "__array__"

    @classmethod
    def of(cls, array: np.ndarray) -> dict[str, Tensor]:
        return {cls.MARK: torch.tensor(array)}

    @classmethod
    def back(cls, value: Mapping[str, Tensor]) -> np.ndarray:
        return value[cls.MARK].numpy()


def _sum(*values: Any) -> str:
    """SHA-256 of nested data, with the types and shapes of its tensors: torch does not check what it reads."""
    digest = hashlib.sha256()
    for part in _parts(values):
        if isinstance(part, Tensor):
            digest.update(f"{part.dtype} {tuple(part.shape)} ".encode())
            digest.update(part.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        else:
            digest.update(f"{type(part).__name__} {part!r} ".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[Any]:
    """Nested data as one row, in which lists and mappings announce their length."""
    if isinstance(value, (Mapping, list, tuple)):
        yield f"{type(value).__name__} of {len(value)}"
        for item in value.items() if isinstance(value, Mapping) else value:
            yield from _parts(item)
    else:
        yield value


def _older_sum(value: Any, total: int = 0) -> int:
    """CRC-32, which checkpoints had before, of the state only."""
    if isinstance(value, Mapping):
        value = [part for pair in value.items() for part in pair]
    if isinstance(value, (list, tuple)):
        for item in value:
            total = _older_sum(item, total)
        return total
    if isinstance(value, Tensor):
        return zlib.crc32(value.detach().cpu().contiguous().numpy().data, total)
    return zlib.crc32(repr(value).encode(), total)


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    found = []
    for key in [*now, *(key for key in then if key not in now)]:
        before, after = then.get(key, "absent"), now.get(key, "absent")
        if before != after:
            is_sum = key.endswith(("weights", "prompts"))
            found.append(f"{key} differ" if is_sum else f"{key} was {before!r} and is {after!r}")
    return found
