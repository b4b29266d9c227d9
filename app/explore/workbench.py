"""A circuit at work behind the page: its model and test prompts, and what has been asked of it. No Streamlit here."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache

from app.explore.survey import Survey
from discogp.terms import Bos

if TYPE_CHECKING:
    from discogp.engine.masked_transformer import MaskedTransformer
    from discogp.evaluation.outcome import Outcome
    from discogp.evaluation.positions import Position
    from discogp.evaluation.session import AblationSession

_OUTCOMES = 64


@dataclass(frozen=True)
class Workbench:
    """A circuit with its model and test prompts, ready to be run without some of its edges."""

    model: MaskedTransformer
    session: AblationSession
    prompts: Any
    note: str
    survey: Survey
    complement: Mapping[str, Any]
    """The complement's figures by name."""
    bos: Bos = "auto"
    lock: threading.Lock = field(default_factory=threading.Lock)
    times: list[float] = field(default_factory=list)
    known: LRUCache[frozenset[str], Outcome] = field(default_factory=lambda: LRUCache(_OUTCOMES))

    def without(self, names: Iterable[str]) -> Outcome:
        """The circuit without these edges and nodes; what was asked before (undo, a second look) is remembered.

        One at a time: two visitors at once on the same cores would both wait longer.
        """
        key = frozenset(names)
        with self.lock:
            outcome = self.known.get(key)
            if outcome is None:
                began = time.monotonic()
                outcome = self.known[key] = self.session.without(key)
                self.times[:] = [time.monotonic() - began]
            return outcome

    def positions(self, prompt: int | str, names: Iterable[str]) -> list[Position]:
        """What full model and circuit predict at every position: of one of the prompts, or of somebody's own text."""
        from discogp.evaluation.positions import positions, prompt_ids

        model, counterfactual = self.model, None
        if isinstance(prompt, str):
            tokens = prompt_ids(prompt, model.tokenizer, model.bos_id, self.bos)
        else:
            one = self.prompts.subset([prompt]).asked
            tokens, counterfactual = one.tokens, one.counterfactual
        with self.lock:
            full, circuit = self.session.at_every_position(tokens, counterfactual, names)
        return positions(tokens[0].tolist(), full[0], circuit[0], model.tokenizer)

    @property
    def slow(self) -> bool:
        """Whether the last run took so long that somebody waiting should be told."""
        return bool(self.times) and self.times[0] > 0.7

    def words(self, tokens: Sequence[int]) -> str:
        tokenizer = self.model.tokenizer
        return " ".join(map(str, tokens)) if tokenizer is None else tokenizer.decode(list(tokens))
