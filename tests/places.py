"""Where things lie that tests read: the checkout, and data sets that are no part of it.

A data set is looked for in the folder that its variable names (DISCOGP_BLIMP, DISCOGP_PARAREL), else in the folder
`shared/data` beside the checkout; tests skip with the reason where neither is there.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def data_folder(name: str) -> Path:
    """The folder of a data set that may or may not be on this machine."""
    return Path(os.environ.get(f"DISCOGP_{name.upper()}") or SHARED / "data" / name)


def needs(folder: Path) -> pytest.MarkDecorator:
    """Skips a test, with the reason, where a folder or file is absent."""
    return pytest.mark.skipif(not folder.exists(), reason=f"{folder.name} is not on this machine (looked at {folder})")
