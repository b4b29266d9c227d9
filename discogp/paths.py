"""Where things lie on disk: the embedded assets, one home folder for models and runs; and how they get there whole.

Before long work: `check_writable` and `claimed`, so that its result has a place, and one that nobody else writes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from discogp.errors import ArtifactError, ConfigError, DiscoGPError

REPOSITORY = Path(__file__).resolve().parent.parent
_LEAST_FREE = 16 * 2**20  # bytes on the disk, below which no search is begun: small circuits have some hundred thousand
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


# --- before long work ------------------------------------------------------------------------------------


def check_writable(target: Path) -> None:
    """ArtifactError unless a file or folder of this name can be written: tried, with names as long, and taken back.

    What is there already is not looked at, parents that are missing are not made.
    """
    if target.name in ("", "..") or (target.is_absolute() and target == Path(target.anchor)):
        raise ArtifactError(f"{str(target)!r} is no name of its own to write to; give one such as results/circuit")
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(_beside(target) / "a file in it")  # tells a path that is too long as a whole
        existing = next(parent for parent in target.parents if os.path.lexists(parent))
        if not existing.is_dir():
            raise ArtifactError(f"{_short(target)} cannot be written: {existing} is not a folder")
        for name in target.relative_to(existing).parts:
            trial = _beside(existing / name)
            trial.mkdir()
            trial.rmdir()
        here = Path.cwd()
        if target.resolve() in (here, *here.parents) or os.path.ismount(target):
            raise ArtifactError(f"{_short(target)} is where this program runs, or a disk's root; choose another name")
        free = shutil.disk_usage(existing).free
    except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself
        raise ArtifactError(f"{_short(target)} cannot be written: {_reason(error)}") from error
    except ValueError as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(f"{_short(target)!r} is no name for a file: {error}") from error  # a null character
    if free < _LEAST_FREE:
        raise ArtifactError(
            f"there are {free / 2**20:.0f} MB left on the disk of {_short(target)}; free {_LEAST_FREE / 2**20:.0f} MB"
        )


@contextmanager
def claimed(*targets: Path) -> Iterator[None]:
    """Hold these names, so that no other process that asks writes there meanwhile; parents that are missing are made.

    ArtifactError if one cannot be written, or if somebody else holds it: at once, without waiting. The system frees
    what a process held when it ends, however it ends.
    """
    with ExitStack() as held:
        for target in dict.fromkeys(targets):
            check_writable(target)
            held.enter_context(_parents(target))
            held.enter_context(_lock(target))
        yield


@contextmanager
def _lock(target: Path) -> Iterator[None]:
    file = target.with_name(f".{target.name}.lock")
    lock = FileLock(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file system without locks, where a marker file serves
            lock.acquire(timeout=0)
    except Timeout:
        raise ArtifactError(
            f"another search is about to write {_short(target)}; wait until it has ended, or choose another name"
        ) from None
    except (OSError, NotImplementedError) as error:
        raise ArtifactError(f"{_short(target)} cannot be locked: {_reason(error)}") from error
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()  # while it is held: whoever waits for it sees that it is gone, and makes a new one
        lock.release()


@contextmanager
def _parents(target: Path) -> Iterator[None]:
    """Made for as long as it takes; those in which nothing came to lie are removed again."""
    missing = [parent for parent in target.parents if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"{_short(target)} cannot be written: {_reason(error)}") from error
    try:
        yield
    finally:
        with suppress(OSError):
            for parent in missing:
                parent.rmdir()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _short(target: Path) -> str:
    text = str(target)
    return text if len(text) <= 200 else f"{text[:200]}…"
