"""DiscoGP Explorer: find the circuit a language model uses for a task, look at it, take it apart, carry it away.

Names are loaded on first use, so that opening a saved circuit needs neither torch nor a model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from discogp.circuits.artifact import load_circuit, save_circuit
    from discogp.circuits.circuit import Circuit
    from discogp.circuits.graph import ComputationGraph
    from discogp.discovery import discover
    from discogp.engine.masked_transformer import MaskedTransformer, load_model
    from discogp.evaluation.scorer import evaluate
    from discogp.evaluation.session import AblationSession, run_circuit
    from discogp.methods.discogp.settings import SearchConfig, preset
    from discogp.prompts.prepare import prepare
    from discogp.search.progress import Progress
    from discogp.tasks import SplitSizes, get_task, list_tasks

__version__ = "0.1.0"

_HOMES = {
    "AblationSession": "evaluation.session",
    "Circuit": "circuits.circuit",
    "ComputationGraph": "circuits.graph",
    "MaskedTransformer": "engine.masked_transformer",
    "Progress": "search.progress",
    "SearchConfig": "methods.discogp.settings",
    "SplitSizes": "tasks",
    "discover": "discovery",
    "evaluate": "evaluation.scorer",
    "get_task": "tasks",
    "list_tasks": "tasks",
    "load_circuit": "circuits.artifact",
    "load_model": "engine.masked_transformer",
    "prepare": "prompts.prepare",
    "preset": "methods.discogp.settings",
    "run_circuit": "evaluation.session",
    "save_circuit": "circuits.artifact",
}
__all__ = [
    "AblationSession",
    "Circuit",
    "ComputationGraph",
    "MaskedTransformer",
    "Progress",
    "SearchConfig",
    "SplitSizes",
    "discover",
    "evaluate",
    "get_task",
    "list_tasks",
    "load_circuit",
    "load_model",
    "prepare",
    "preset",
    "run_circuit",
    "save_circuit",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'discogp' has no attribute {name!r}")
    return getattr(import_module(f"discogp.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
