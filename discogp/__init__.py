"""DiscoGP Explorer: find the circuit a language model uses for a task, look at it, take it apart, carry it away.

Names are loaded on first use, so that opening a saved circuit needs neither torch nor a model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from discogp.ablation import AblationSession, run_circuit
    from discogp.artifact import load_circuit, save_circuit
    from discogp.circuit import Circuit
    from discogp.data import prepare
    from discogp.discovery import Progress, discover
    from discogp.evaluation import evaluate
    from discogp.graph import ComputationGraph
    from discogp.masked_transformer import MaskedTransformer, load_model
    from discogp.settings import SearchConfig, preset
    from discogp.tasks import SplitSizes, get_task, list_tasks

__version__ = "0.1.0"

_HOMES = {
    "AblationSession": "ablation",
    "Circuit": "circuit",
    "ComputationGraph": "graph",
    "MaskedTransformer": "masked_transformer",
    "Progress": "discovery",
    "SearchConfig": "settings",
    "SplitSizes": "tasks",
    "discover": "discovery",
    "evaluate": "evaluation",
    "get_task": "tasks",
    "list_tasks": "tasks",
    "load_circuit": "artifact",
    "load_model": "masked_transformer",
    "prepare": "data",
    "preset": "settings",
    "run_circuit": "ablation",
    "save_circuit": "artifact",
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
