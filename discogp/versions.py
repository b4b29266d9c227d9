"""The versions that a result depends on, to be stored with it. Needs no torch."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

_PACKAGES = ("discogp-explorer", "torch", "transformers", "transformer-lens", "numpy")


def versions() -> dict[str, str]:
    """Of Python and of the packages that are installed."""
    found = {"python": python_version()}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
