"""The figures of a circuit as plain data: of every prompt, of a split, and of circuit, complement and full model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from discogp.evaluation.uncertainty import mean_error, share_error


@dataclass(frozen=True)
class Metrics:
    """Means over `n` prompts. accuracy, top1: 0–1; kl: nats; logit_diff: logits, right minus wrong.

    `further`: by name, those of `discogp.circuits.measures` that are not of every outcome.
    """

    accuracy: float
    top1: float
    kl: float
    logit_diff: float
    n: int
    further: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All figures by name, in one level."""
        own = {name: getattr(self, name) for name in ("accuracy", "top1", "kl", "logit_diff", "n")}
        return own | dict(self.further)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a model, or a part of it, did on every prompt [b].

    `texts`: where answers are several tokens, the likeliest tokens, one after the other, as far as candidates follow.
    """

    correct: NDArray[np.bool_]
    top_token: NDArray[np.int64]
    top_is_right: NDArray[np.bool_]
    logit_diff: NDArray[np.float32]
    kl: NDArray[np.float32]
    further: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    texts: tuple[tuple[int, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.correct)

    @classmethod
    def joined(cls, parts: Sequence[Outcome]) -> Outcome:
        """What was done on the prompts of at least one part, on those of all in their order."""
        columns = ("correct", "top_token", "top_is_right", "logit_diff", "kl")
        whole = {name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
        further = {name: np.concatenate([part.further[name] for part in parts]) for name in parts[0].further}
        return cls(**whole, further=further, texts=tuple(text for part in parts for text in part.texts))

    def first(self, n: int) -> Outcome:
        """The same on the first `n` prompts alone."""
        return self._of(slice(0, n))

    def only(self, prompt: int) -> Outcome:
        """The same on one prompt alone."""
        return self._of(slice(prompt, prompt + 1))

    def _of(self, some: slice) -> Outcome:
        further = {name: values[some] for name, values in self.further.items()}
        return Outcome(
            self.correct[some],
            self.top_token[some],
            self.top_is_right[some],
            self.logit_diff[some],
            self.kl[some],
            further,
            self.texts[some],
        )

    def errors(self, population: int) -> dict[str, float]:
        """Of every figure by name, the standard error of that of all `population` prompts, told from these [b]."""
        shares = {"accuracy": self.correct, "top1": self.top_is_right}
        means = {"kl": self.kl, "logit_diff": self.logit_diff, **self.further}
        found = {name: share_error(int(values.sum()), len(self), population) for name, values in shares.items()}
        return found | {name: mean_error(values, population) for name, values in means.items()}

    def text(self, prompt: int) -> tuple[int, ...]:
        """The token ids of what is likeliest to be said of one prompt."""
        return self.texts[prompt] if self.texts else (int(self.top_token[prompt]),)

    @property
    def metrics(self) -> Metrics:
        return Metrics(
            accuracy=float(self.correct.mean()),
            top1=float(self.top_is_right.mean()),
            kl=float(self.kl.mean()),
            logit_diff=float(self.logit_diff.mean()),
            n=len(self.correct),
            further={name: float(values.mean()) for name, values in self.further.items()},
        )


@dataclass(frozen=True)
class Evaluation:
    """One circuit on one split: the full model, the circuit alone, and the complement of what was searched."""

    full: Metrics
    circuit: Metrics
    complement: Metrics
    edge_density: float
    weight_density: float | None
    n_edges: int
    searched_weight_density: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The circuit's figures at the top level, the complement's with a prefix, the full model's beneath `full`."""
        parts = {name: getattr(self, name).to_json() for name in ("full", "circuit", "complement")}
        flat: dict[str, Any] = dict(parts["circuit"])
        flat |= {f"complement_{k}": v for k, v in parts["complement"].items() if k != "n"}
        flat |= {"edge_density": self.edge_density, "weight_density": self.weight_density, "n_edges": self.n_edges}
        flat["searched_weight_density"] = self.searched_weight_density
        return flat | parts
