"""What the libraries underneath raise and print while a model loads, turned into one ModelError, or into silence."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from discogp.errors import ModelError
from discogp.models import registry


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one short line: its first, with the next where that only announces it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    announced = lines[1:2] if lines and lines[0].endswith(":") else []
    return " ".join([*lines[:1], *announced] or [type(error).__name__]).rstrip(".")[:300]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


_NO_ANSWER = {
    "LocalEntryNotFoundError",
    "OfflineModeIsEnabled",
    "TransportError",
    "ConnectionError",
    "TimeoutError",
}


@contextmanager
def named(shown: str) -> Iterator[None]:
    """Put the model's name before an error of the table of architectures, which does not know it."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"model {shown!r}: {error}") from error


def load_error(error: Exception, shown: str, what: str, local: bool) -> ModelError:
    """A ModelError for whatever transformers, safetensors or the hub raised."""
    kinds = {kind.__name__ for link in _chain(error) for kind in type(link).__mro__}
    text = first_line(error)
    if not local:
        if "GatedRepoError" in kinds:
            return ModelError(
                f"model {shown!r} asks for its licence to be accepted. Accept it on "
                f"https://huggingface.co/{shown}, set HF_TOKEN to an access token, and try again"
            )
        if "RepositoryNotFoundError" in kinds or "not a valid model identifier" in str(error):
            return ModelError(
                f"model {shown!r} is not on the Hugging Face hub (or is private), and no folder of that "
                f"name exists here. {registry.choices(shown)}"
            )
        if kinds & _NO_ANSWER or "couldn't connect" in text or "offline mode" in text:
            return ModelError(
                f"model {shown!r} is not on this machine, and the Hugging Face hub cannot be reached from "
                "here. Set up the network (or a proxy: HTTPS_PROXY); or download the model on a connected "
                "machine and pass its folder; or use 'mini' (embedded) or 'smollm2-135m' (from the Python "
                f"package index). {registry.choices(shown)}"
            )
    if "Weights only load failed" in str(error) or "UnpicklingError" in kinds:
        return ModelError(
            f"model {shown!r}: its pickled weights are damaged or would run code when read; only plain "
            "tensors are accepted (weights_only). Use a checkpoint with safetensors files"
        )
    return ModelError(
        f"model {shown!r}: {what} could not be read: {text}. The files are damaged or foreign; download the "
        "model again, or pass another one"
    )


@contextmanager
def quiet() -> Iterator[None]:
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
