"""The pages' fixtures."""

from __future__ import annotations

from tests.app.conftest import example, home

__all__ = ["example", "home"]
