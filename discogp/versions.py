"""The versions that a result depends on, to be stored with it. Needs no torch."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from platform import python_version

_PACKAGES = ("torch", "transformers", "transformer-lens", "numpy")


def versions() -> dict[str, str]:
    """Of Python, of this library and of the packages that are installed."""
    assert __package__ is not None
    # Not from the installed metadata: an editable install keeps that of the day it was made. By name, because rooms
    # import nothing through the library's face, where packaging reads the version.
    found = {"python": python_version(), "discogp-explorer": import_module(__package__).__version__}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
