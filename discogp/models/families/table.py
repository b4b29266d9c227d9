"""The table of architectures: Hugging Face class name -> how to read its weights; everything else is refused.

A new family is one file in this folder with an extractor and its row. The command line, the page and the README show
the table. TransformerLens's bridge boots every class of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from discogp.errors import ModelError
from discogp.models.families.reading import Parameters
from discogp.models.weights import ModelWeights
from discogp.registry import Registry

Extractor = Callable[[Any, Parameters], ModelWeights]


@dataclass(frozen=True)
class Architecture:
    """One row: the Hugging Face class, the `model_type` its config must state, what people call the family, its
    extractor, and in a few words what is reproduced and what is refused."""

    name: str
    model_type: str
    family: str
    extract: Extractor
    note: str


ARCHITECTURES: Registry[Architecture] = Registry("architecture", ("discogp.models.families",), ModelError)


def register(row: Architecture) -> Architecture:
    """Add a row. ModelError for a class that has one."""
    return ARCHITECTURES.add(row.name, row)
