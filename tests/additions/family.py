"""A model family: goes to `discogp/models/families/`. Here GPT-2 under another class's name."""

from __future__ import annotations

from discogp.models.families.gpt2 import extract_gpt2
from discogp.models.families.table import Architecture, register

register(Architecture("RenamedLMHeadModel", "renamed", "Renamed", extract_gpt2, "GPT-2 under another name"))
