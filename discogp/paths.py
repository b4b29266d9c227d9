"""Where things lie on disk: the embedded assets, one home folder for models and runs; and how they get there whole."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def assets() -> Path:
    """The folder of the embedded model and the example circuits."""
    return REPOSITORY / "assets"


def home() -> Path:
    """Converted models and runs live here: `$DISCOGP_HOME`, or `~/.cache/discogp`."""
    return Path(os.environ.get("DISCOGP_HOME") or "~/.cache/discogp").expanduser()


@contextmanager
def replaced_file(target: Path, *, sync: bool = False) -> Iterator[Path]:
    """A path to write a file at, which takes the target's place once it is whole: readers see the old one or the new.

    What was written is removed if anything fails before. `sync`: on the disk first, so that a power cut spares it too.
    """
    temporary = _beside(target)
    try:
        yield temporary
        if sync:
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError, ValueError):  # ValueError: a name with a null character
            temporary.unlink()
        raise


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """The same for a folder: an empty one to fill. The target's parents are made; its old content goes only at the end.

    Not tempfile's, whose folders nobody else may read: what is saved is as readable as what lies beside it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = _beside(target)
    staging.mkdir()
    try:
        yield staging
        _swap(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _beside(target: Path) -> Path:
    """A hidden name in the same folder, since only within a file system is a rename atomic."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


def _swap(staging: Path, target: Path) -> None:
    """Renaming over a folder with files fails, so the old one steps aside first."""
    if not target.exists():
        staging.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    target.rename(aside / "old")
    try:
        staging.rename(target)
    except OSError:
        (aside / "old").rename(target)
        raise
    finally:
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)
