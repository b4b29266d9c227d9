"""Running a circuit, and running it again with some of its edges off.

Axes: batch b, position t, vocabulary V. Source: arXiv 2407.03779, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
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
from discogp.errors import GraphError
from discogp.evaluation.first_order import FirstOrder, Of, first_order
from discogp.evaluation.known import ByBatch, on_first
from discogp.evaluation.minimality import Effect, Minimality, sample_order
from discogp.evaluation.one_prompt import Part, Said, said
from discogp.evaluation.outcome import Outcome
from discogp.evaluation.scorer import Evaluator, Scorer, check_fits
from discogp.evaluation.toggling import Report, Toggler
from discogp.tasks.encoded import Prompts
from discogp.terms import Ablation

FIRST = 24
"""Prompts of the first figures of a click: enough to tell much from little, and soon there."""

__all__ = ["AblationSession", "FirstOrder", "Minimality", "Outcome", "run_circuit"]


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
        self._sizes = [len(batch) for batch in self._scorer.batches]
        toggler, mask = self._toggler, circuit.edge_mask
        self._circuit_parts = ByBatch(len(self._sizes), lambda index: toggler.part(index, mask))

    @property
    def full(self) -> Outcome:
        """The model with every edge and weight."""
        return self._scorer.full

    def full_on(self, n: int) -> Outcome:
        """The same on the first `n` prompts, up to the end of their last batch: as far as `refine` has come."""
        return self._scorer.full_on(n)

    @property
    def circuit(self) -> Outcome:
        """The circuit alone."""
        return self.circuit_on(len(self.prompts))

    def circuit_on(self, n: int) -> Outcome:
        """The same on the first `n` prompts, up to the end of their last batch."""
        return on_first(self._circuit_parts, self._sizes, n)

    @property
    def known(self) -> bool:
        """Whether full model and circuit have been computed on all prompts, so that asking for them costs nothing."""
        return self._scorer.full_parts.complete and self._circuit_parts.complete

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

        Each outcome compares with that of the same prompts, `circuit_on(len(outcome))`. `cancelled` is asked before
        each batch; once it says so, nothing more comes. GraphError for an unknown name, before anything is computed.
        """
        return self._refine(self.base.without(names).edge_mask, cancelled or (lambda: False))

    def _refine(self, edge_mask: NDArray[np.bool_], cancelled: Callable[[], bool]) -> Iterator[Outcome]:
        known: list[Outcome] = []
        for index in range(len(self._sizes)):
            if cancelled():
                return
            known.append(self._toggler.part(index, edge_mask))
            # What it is compared with is then known too: whoever draws the figures need not wait for a turn.
            _ = self._circuit_parts[index], self._scorer.full_parts[index]
            yield Outcome.joined(known)

    def of_prompt(self, place: int, names: Iterable[str] = ()) -> tuple[Outcome, Outcome, Outcome]:
        """One prompt's own figures, of the full model, the circuit and the circuit without these: so at once."""
        scorer = self._scorer.of_prompt(place)
        masks = (self.base.edge_mask, self.base.without(names).edge_mask)
        return (scorer.full, *(scorer.outcome(mask) for mask in masks))  # type: ignore[return-value]

    def says(self, prompt: Prompts, part: Part, names: Iterable[str] = ()) -> Said:
        """What a part of the model says to one prompt, of the split or not; `edited`: without these edges and nodes.

        With resample ablation, all parts but the full model need the prompt's counterfactual: ConfigError.
        """
        scorer, mask = self._scorer, self.base.edge_mask
        if part == "edited":
            mask = self.base.without(names).edge_mask
        elif part == "complement":
            scorer, mask = self._complement_scorer, self.base.complement().edge_mask
        alone = scorer.on(prompt)
        logits = alone.full_log_probs[0] if part == "full" else alone.logits(0, mask)
        return said(logits, alone.prompts, self.model.tokenizer)

    @cached_property
    def _complement_scorer(self) -> Scorer:
        return self._evaluator.scorer(self.base.complement())

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

    def leave_one_out(self, progress: Report | None = None, edges: Sequence[str] | None = None) -> Minimality:
        """The circuit without each of its edges in turn; `progress(done, total)` may raise, to cancel.

        `edges`: only these of them, GraphError for a name that is none. Where they are drawn at random, `sampled` says
        how much may be told from them of all.
        """
        chosen = self._places(self.base.edges if edges is None else edges)
        return Minimality(self.base, self.circuit, self._toggler.leave_one_out(chosen, progress))

    def sampled(self, n: int, seed: int = 0, progress: Report | None = None) -> Minimality:
        """The same for `n` of the circuit's edges, drawn at random; all of them where it has no more."""
        order = sample_order(self.base, seed)[:n]
        found = self.leave_one_out(progress, order)
        return found if len(order) == self.base.n_edges else replace(found, seed=seed)

    def effects(self, chunks: Iterable[Sequence[str]]) -> Iterator[tuple[Effect, ...]]:
        """The circuit without each of some edges, a few at a time: what comes next is asked for only when it is due."""
        whole, graph = self.circuit.metrics, self.model.graph
        for found in self._toggler.each_left_out(self._places(names) for names in chunks):
            yield tuple(Effect.of(graph.edges[one.edge].name, one, whole) for one in found)

    def first_order(self, of: Of = "logit_diff") -> FirstOrder:
        """An estimate of what leaving out each edge of the circuit does, of all of them from one backward pass."""
        return first_order(self._scorer, self.base, of)

    def release(self) -> None:
        """Give back what is kept to make the next run quicker. That one takes as long as the first."""
        self._toggler.release()
        self.__dict__.pop("_complement_scorer", None)  # of a sheaf it has weights of its own

    def _places(self, names: Sequence[str]) -> list[int]:
        """Where these edges of the circuit stand in its graph."""
        places = [self.model.graph.index(name) for name in names]
        for name, place in zip(names, places, strict=True):
            if not self.base.edge_mask[place]:
                raise GraphError(f"the edge {name!r} is not in the circuit; name one that it keeps")
        return places
