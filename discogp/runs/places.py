"""Where a search will write, looked at and held before the work. Needs no torch, so that a refusal comes at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from discogp.circuits.artifact import check_replaceable
from discogp.errors import ArtifactError
from discogp.paths import check_writable, claimed


@contextmanager
def places(out: Path, last: Path, checkpoint: Path) -> Iterator[None]:
    """Hold the places that `run_search` will write, before minutes of work and not after.

    ArtifactError if one of them cannot be written, holds other things, or is another search's at this moment.
    """
    with claimed(out, last):
        for folder in (out, last):
            check_replaceable(folder)
        check_writable(checkpoint)
        if checkpoint.is_dir():
            raise ArtifactError(f"{checkpoint} is a folder, in the way of the search's checkpoint; choose another name")
        yield
