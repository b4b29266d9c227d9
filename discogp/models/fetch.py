"""Getting a known model onto this machine."""

from __future__ import annotations

from pathlib import Path

from discogp.errors import ModelError
from discogp.models.loading import load_checkpoint
from discogp.models.registry import KnownModel, Report


def fetch(model: KnownModel, report: Report | None = None) -> Path | str:
    """Fetch the model unless it is here; return its location. Raises ModelError with the way out."""
    if model.fetch:
        return model.fetch(report)
    if not model.available():
        if model.where:
            raise ModelError(f"model {model.name!r} is missing. {model.how_to_get()}")
        if report:
            name = model.cached_hub_name()
            report(f"Downloading {name} from the Hugging Face hub ({model.size_mb} MB)", 0.02)
        load_checkpoint(model.name)
    if report:
        report("Ready", 1.0)
    return model.location()
