"""Where things lie on disk: the embedded assets, and one home folder for models and runs."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def assets() -> Path:
    """The folder of the embedded model and the example circuits."""
    return REPOSITORY / "assets"


def home() -> Path:
    """Converted models and runs live here: `$DISCOGP_HOME`, or `~/.cache/discogp`."""
    return Path(os.environ.get("DISCOGP_HOME") or "~/.cache/discogp").expanduser()
