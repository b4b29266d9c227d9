"""Where things lie on disk: the embedded assets, one home folder for models and runs; and how they get there whole."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from discogp.errors import ConfigError, DiscoGPError

REPOSITORY = Path(__file__).resolve().parent.parent
_MAX_NAME, _MAX_PATH = 255, 4095  # Linux's, in bytes


def assets() -> Path:
    """The folder of the embedded model and the example circuits."""
    return REPOSITORY / "assets"


def home() -> Path:
    """Converted models and runs live here: `$DISCOGP_HOME`, or `~/.cache/discogp`."""
    return user_path(os.environ.get("DISCOGP_HOME") or "~/.cache/discogp")


def user_path(written: str | os.PathLike[str], error: type[DiscoGPError] = ConfigError) -> Path:
    """The path that somebody wrote, `~` and `~name` as a shell reads them. `error` for what can be none.

    Checked once, here: later the system would say it in other words at every call, or Python with another exception.
    """
    path = Path(written)
    text = str(path)
    if "\0" in text:
        raise error(f"path {text[:60]!r} holds a null character; give one without")
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > _MAX_NAME or len(os.fsencode(text)) > _MAX_PATH:
        raise error(
            f"path {text[:60] + '…'!r} has {len(text):,} characters; a path has at most {_MAX_PATH:,} bytes, and a "
            f"name in it {_MAX_NAME}"
        )
    try:
        return path.expanduser()
    except RuntimeError:
        name = path.parts[0]
        raise error(f"path {text[:120]!r}: there is no home folder of {name!r} here; write the whole path") from None


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
