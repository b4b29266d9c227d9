"""Running a circuit, and running it again with some of its edges off.

Axes: batch b, position t, vocabulary V. Source: arXiv 2407.03779, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from discogp.circuits.circuit import Circuit
from discogp.engine.folded import FoldedWeights
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.engine.masks import circuit_weights, edge_matrix
from discogp.evaluation.minimality import Minimality
from discogp.evaluation.outcome import Outcome
from discogp.evaluation.scorer import Evaluator, check_fits
from discogp.evaluation.toggling import Report, Toggler
from discogp.tasks.encoded import Prompts
from discogp.terms import Ablation

FIRST = 32
"""Prompts of the first figures of a click: enough to tell much from little, and soon there."""

__all__ = ["AblationSession", "Minimality", "Outcome", "run_circuit"]


@torch.no_grad()
def run_circuit(
    model: MaskedTransformer,
    circuit: Circuit,
    tokens: Tensor,
    ablation: Ablation = "zero",
    counterfactual: Tensor | None = None,
) -> Float[Tensor, "b t V"]:
    """Logits [b, t, V] of a circuit on tokens [b, t], every edge outside it ablated.

    zero: what an edge carried is left out. resample: replaced by the same source's output on `counterfactual`
    [b, t], which must then be given. mean: by that source's mean output over all prompts and positions of
    `counterfactual`, or of `tokens` without one. A sheaf runs on its kept weights. Raises ArtifactError, ModelError,
    ConfigError for a circuit, tokens or counterfactuals that do not fit.
    """
    check_fits(model, circuit)
    tokens = model.check_tokens(tokens)
    folded = model.folded
    if circuit.weight_masks is not None:
        folded = FoldedWeights.of(circuit_weights(model.weights, circuit))
    replacement = model.replacement(ablation, tokens, counterfactual, folded=folded)
    mask = edge_matrix(model.graph, circuit.edge_mask, model.device)
    return model.masked(tokens, mask, replacement=replacement, folded=folded)


class AblationSession:
    """One circuit on one split, ready to be asked what happens without some of its edges or nodes."""

    def __init__(self, model: MaskedTransformer, circuit: Circuit, prompts: Prompts) -> None:
        self.model, self.base, self.prompts = model, circuit, prompts
        self._evaluator = Evaluator(model, prompts, circuit.ablation, first=FIRST)
        self._scorer = self._evaluator.scorer(circuit)
        self._toggler = Toggler(self._scorer, circuit.edge_mask)

    @property
    def full(self) -> Outcome:
        """The model with every edge and weight."""
        return self._scorer.full

    @cached_property
    def circuit(self) -> Outcome:
        """The circuit alone."""
        return self._toggler.outcome(self.base.edge_mask)

    @cached_property
    def complement(self) -> Outcome:
        """The model without what was found."""
        return self._evaluator.complement(self.base)

    def without(self, names: Iterable[str]) -> Outcome:
        """The circuit with these edges (or nodes: all their edges) off. GraphError for an unknown name.

        Only what lies downstream of them is computed. Threads may share a session; they take turns.
        """
        return self._toggler.outcome(self.base.without(names).edge_mask)

    def refine(self, names: Iterable[str] = (), cancelled: Callable[[], bool] | None = None) -> Iterator[Outcome]:
        """The same as it becomes known: on the first prompts (`FIRST`), on more, in the end on all of them.

        Each outcome compares with that of the same prompts, `circuit.first(len(outcome))`. `cancelled` is asked before
        each batch; once it says so, nothing more comes. GraphError for an unknown name, before anything is computed.
        """
        return self._refine(self.base.without(names).edge_mask, cancelled or (lambda: False))

    def _refine(self, edge_mask: NDArray[np.bool_], cancelled: Callable[[], bool]) -> Iterator[Outcome]:
        known: list[Outcome] = []
        parts = self._toggler.parts(edge_mask)
        while not cancelled() and (part := next(parts, None)) is not None:
            known.append(part)
            yield Outcome.joined(known)

    def of_prompt(self, place: int, names: Iterable[str] = ()) -> tuple[Outcome, Outcome]:
        """One prompt's own figures, of the circuit and of the circuit without these: of a single prompt, so at once."""
        scorer = self._scorer.of_prompt(place)
        return self.circuit.only(place), scorer.outcome(self.base.without(names).edge_mask)

    @torch.no_grad()
    def at_every_position(
        self, tokens: Tensor, counterfactual: Tensor | None = None, names: Iterable[str] = ()
    ) -> tuple[Float[Tensor, "b t V"], Float[Tensor, "b t V"]]:
        """Logits [b, t, V] of the full model, and of the circuit without these edges and nodes, for any tokens [b, t].

        With resample ablation the counterfactual [b, t] must be given; mean ablation takes the split's means.
        """
        tokens = self.model.check_tokens(tokens)
        scorer = self._scorer
        mask = edge_matrix(self.model.graph, self.base.without(names).edge_mask, self.model.device)
        replacement = scorer.replacement(tokens, counterfactual)
        circuit = self.model.masked(tokens, mask, replacement=replacement, folded=scorer.folded)
        return self.model.logits(tokens), circuit

    def leave_one_out(self, progress: Report | None = None) -> Minimality:
        """The circuit without each of its edges in turn; `progress(done, total)` may raise, to cancel."""
        edges = np.flatnonzero(self.base.edge_mask).tolist()
        return Minimality(self.base, self.circuit, self._toggler.leave_one_out(edges, progress))
