"""Searches as jobs: each in a process of its own, each leaving one folder that outlives page and process."""

from __future__ import annotations

from discogp.runs.launch import cancel, current, resume, start
from discogp.runs.store import STATES, Run, RunSettings, RunStore, Unreadable

__all__ = ["STATES", "Run", "RunSettings", "RunStore", "Unreadable", "cancel", "current", "resume", "start"]
