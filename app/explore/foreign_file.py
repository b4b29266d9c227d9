"""A circuit file of another program: what is asked of the visitor, and what is then made of it. No Streamlit here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from discogp.circuits.circuit import Circuit
from discogp.circuits.foreign import reading
from discogp.errors import ConfigError

if TYPE_CHECKING:
    from discogp.engine.masked_transformer import MaskedTransformer


@dataclass(frozen=True)
class Wish:
    """A file and what it is to be scored on. `n_edges`: how many of the strongest to keep, None for the file's own."""

    content: bytes = field(repr=False)
    name: str
    model: str
    task: str | None = None
    task_options: Mapping[str, Any] = field(default_factory=dict)
    n_edges: int | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.content, self.model, self.task, tuple(sorted(self.task_options.items())), self.n_edges)


@dataclass(frozen=True)
class Taken:
    """The circuit, scored if there was a task, and what there is to be said of how."""

    circuit: Circuit
    notes: tuple[str, ...]


def take(wish: Wish, load: Callable[[str], MaskedTransformer]) -> Taken:
    """Read, and score, with a model that `load` gives. Raises DiscoGPError."""
    from discogp.runs.adoption import adopt, of_model

    model = load(wish.model)
    circuit = reading.read_circuit(wish.content, wish.name, model.graph)
    if wish.n_edges is None and (why := reading.undecided(circuit)):
        raise ConfigError(f"{wish.name}: {why}")
    circuit = reading.keep(circuit, wish.n_edges)
    said = tuple(reading.notes(circuit))
    if wish.task is None:
        return Taken(of_model(circuit, model), said)
    adopted = adopt(circuit, model, wish.task, wish.task_options)
    return Taken(adopted.circuit, (*said, *adopted.notes))
