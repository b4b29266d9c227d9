"""A circuit at work behind the page: its model and test prompts, and what has been asked of it. No Streamlit here."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from cachetools import LRUCache

from app.explore.refining import Refiner
from app.explore.survey import Survey
from app.explore.widths import known, widths_of
from discogp.terms import Bos

if TYPE_CHECKING:
    from discogp.circuits.circuit import Circuit
    from discogp.drawing.view import GraphView
    from discogp.engine.masked_transformer import MaskedTransformer
    from discogp.evaluation import one_prompt
    from discogp.evaluation.one_prompt import Said
    from discogp.evaluation.outcome import Outcome
    from discogp.evaluation.positions import Position
    from discogp.evaluation.session import AblationSession
    from discogp.tasks.encoded import Prompts

Part = Literal["full", "circuit", "complement"]
_PARTS: tuple[one_prompt.Part, ...] = ("full", "circuit", "edited", "complement")
_ANSWERS = 200  # of one prompt by one part, remembered


@dataclass(frozen=True)
class OwnText:
    """A visitor's own prompt and candidates."""

    text: str
    right: str
    wrong: str


@dataclass(frozen=True)
class Workbench:
    """A circuit with its model and test prompts, ready to be run without some of its edges."""

    model: MaskedTransformer
    session: AblationSession
    prompts: Any
    note: str
    survey: Survey
    refiner: Refiner
    saved: Mapping[str, Mapping[str, Any]] | None = None
    """The figures in the circuit's file by part, where its weights and prompts prove to be those that they are of."""
    bos: Bos = "auto"
    held_out: str = ""
    """What of the test prompts occurs in no other split."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    _drawings: dict[str, GraphView] = field(default_factory=dict)
    _said: MutableMapping[Any, Said] = field(default_factory=lambda: LRUCache(_ANSWERS))

    def without(self, names: Iterable[str]) -> Outcome:
        """The circuit without these edges and nodes, on all prompts; what was asked before is remembered."""
        return self.refiner.settled(frozenset(names))

    def figures(self, part: Part) -> Mapping[str, Any]:
        """Of all prompts: those computed here, or until they are, those that were saved.

        A complement has nearly every edge and takes longest: it is computed only where the other figures, once they
        are known, are not those that were saved.
        """
        if self.saved is not None and (not self.session.known or (part == "complement" and self._as_saved)):
            return self.saved[part]
        return getattr(self.session, part).metrics.to_json()

    @property
    def _as_saved(self) -> bool:
        assert self.saved is not None  # the caller's case
        return all(_close(self.saved[part], self.figures(part)) for part in ("full", "circuit"))

    def prompt(self, place: int, names: Iterable[str]) -> tuple[Outcome, Outcome, Outcome]:
        """One prompt's own figures, of the full model, the circuit and the circuit without these."""
        with self.lock:
            return self.session.of_prompt(place, names)

    def drawing(self, circuit: Circuit, most: int) -> GraphView:
        """The circuit with edges as wide as what they do, as far as that is known; their scores before."""
        from discogp.drawing.view import build_view

        if (shows := known(self.survey)) not in self._drawings:
            self._drawings[shows] = build_view(circuit, most, widths=widths_of(circuit, self.survey))
        return self._drawings[shows]

    def one(self, prompt: int | OwnText) -> Prompts:
        """One of the prompts, or somebody's own. ModelError or TaskError for a text that the model cannot be asked."""
        from discogp.prompts.own import own_prompt

        if isinstance(prompt, OwnText):
            return own_prompt(self.model, prompt.text, prompt.right, prompt.wrong, self.bos)
        return self.prompts.subset([prompt])

    def tokens(self, prompt: Prompts) -> list[str]:
        """The prompt as the model reads it, token by token, white space to be seen."""
        from discogp.prompts.reading import pieces

        ids = prompt.tokens[0, : int(prompt.lengths[0])].tolist()
        return [str(i) for i in ids] if self.model.tokenizer is None else pieces(ids, self.model.tokenizer)

    def says(self, prompt: int | OwnText, names: Iterable[str]) -> dict[str, Said]:
        """What full model, circuit, the circuit without these (if any) and complement say to one prompt."""
        off = frozenset(names)
        found: dict[str, Said] = {}
        for part in _PARTS:
            if part == "edited" and not off:
                continue
            key = _said_key(prompt, part, off)
            with self.lock:
                if key not in self._said:
                    self._said[key] = self.session.says(self.one(prompt), part, off)
                found[part] = self._said[key]
        return found

    def has_said(self, prompt: int | OwnText, names: Iterable[str]) -> bool:
        """Whether all of that is known, so that asking costs nothing."""
        off = frozenset(names)
        return all(_said_key(prompt, part, off) in self._said for part in _PARTS if off or part != "edited")

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

    def rest(self) -> bool:
        """Give back what is kept between clicks; False, and nothing is, while something is being found out."""
        if self.refiner.busy or (self.survey.running and not self.survey.paused):
            return False
        self.session.release()
        return True

    def words(self, tokens: Sequence[int]) -> str:
        tokenizer = self.model.tokenizer
        return " ".join(map(str, tokens)) if tokenizer is None else tokenizer.decode(list(tokens))


def _said_key(prompt: int | OwnText, part: one_prompt.Part, off: frozenset[str]) -> tuple[Any, ...]:
    return prompt, part, off if part == "edited" else None


def _close(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether all of today's figures are those of then, up to what another machine's rounding makes of them."""
    return all(
        isinstance(then.get(name), (int, float)) and abs(then[name] - value) <= 1e-3 * max(1.0, abs(value))
        for name, value in now.items()
    )
