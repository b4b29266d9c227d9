"""Scoring a circuit on prompts: does it do the task, does the rest not, and how far is it from the model.

Axes: prompt b, row r, vocabulary V, edge e. Accuracy: share of prompts whose right answer's logit is above the wrong
one's. Top-1: share whose most likely token of the whole vocabulary is a right answer. KL: KL(full ‖ circuit) at the
last position over the whole vocabulary, in nats, mean over prompts. Logit difference: right minus wrong, mean.
Source of the measures: arXiv 2407.03779, section 4.

Of answers of several tokens (`candidates`): accuracy and difference are of the sums of their tokens' log-probabilities,
in nats; top-1 is the share whose text, always going on with the likeliest token, begins with a right answer; KL is
summed over the tokens of a right answer, each predicted after the tokens before it, mean over right answers.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from discogp.circuits.circuit import Circuit
from discogp.circuits.measures import FURTHER
from discogp.engine.folded import FoldedWeights
from discogp.engine.gathered_pass import READERS_AT_ONCE
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.engine.masks import circuit_weights, edge_matrix
from discogp.engine.replacement import Replacement
from discogp.engine.sparse_pass import SparseRunner
from discogp.engine.workspace import Workspace
from discogp.errors import ArtifactError, ConfigError
from discogp.evaluation.candidates import (
    Candidates,
    along_right_answers,
    as_one_token,
    greedy_is_right,
    likeliest_texts,
)
from discogp.evaluation.known import ByBatch, on_first
from discogp.evaluation.measures import answers_right, kl_divergence, logit_difference
from discogp.evaluation.outcome import Evaluation, Outcome
from discogp.tasks.encoded import Prompts
from discogp.terms import Ablation

# Above this share of kept edges almost every node is alive, and the dense pass is the quicker one.
_SPARSE_BELOW = 0.25
_BATCH_BYTES = 800_000_000
_CACHED_REPLACEMENT_BYTES = 500_000_000


def evaluation_batch(model: MaskedTransformer, length: int) -> int:
    """How many rows of `length` tokens are evaluated at once."""
    per_token = 4 * model.config.d_model * (model.graph.n_sources + 4 * model.graph.readers_per_layer)
    return max(1, int(_BATCH_BYTES / (per_token * length)))


def evaluation_bytes(
    model: MaskedTransformer, prompts: Prompts, ablation: Ablation = "zero", all_edges: bool = False
) -> int:
    """Memory of scoring circuits on a split: a dense run of the one and a sparse run of the other of circuit and
    complement, the answers, and counterfactuals' outputs. Where both have `all_edges`, two dense runs in turn."""
    graph, length = model.graph, prompts.tokens.shape[1]
    batch = min(prompts.n_rows, max(evaluation_batch(model, length), prompts.most_rows(1)))
    wide = (graph.n_layers - 1) * graph.readers_per_layer + 2 * graph.n_heads
    inputs = min(wide, max(graph.readers_per_layer, READERS_AT_ONCE))
    shape, element = model.config, model.weights.embed.element_size()
    # What one block computes on the way, in residual streams.
    block = (4 * shape.n_heads * shape.d_head + (3 if shape.gated else 2) * shape.d_mlp) // shape.d_model
    rows = (1 if all_edges else 2) * graph.n_sources + inputs + block + 2
    answers = 4 * model.config.d_vocab * (prompts.n_rows + 4 * batch)
    other = 0
    if ablation == "resample":
        other = _replacement_bytes(model, prompts)
        if other > _CACHED_REPLACEMENT_BYTES:
            other = other * batch // prompts.n_rows
    return element * rows * batch * length * model.config.d_model + answers + other


def _replacement_bytes(model: MaskedTransformer, prompts: Prompts) -> int:
    """What every source writes on a split's counterfactuals."""
    return 4 * model.config.d_model * model.graph.n_sources * prompts.tokens.numel()


class Scorer:
    """Runs circuits of one model on one split. Holds what does not depend on the circuit: the full model's answers.

    `folded`: the weights that circuits run on (a sheaf's kept weights), the model's own by default; the full model
    that KL compares with is always the unmasked one, and may be taken from another scorer of the same split (`like`).
    With mean ablation the mean is over the split's prompts. `first`: the first batch has at most so many prompts, so
    that somebody who waits sees figures of those before the rest is there.
    """

    def __init__(
        self,
        model: MaskedTransformer,
        prompts: Prompts,
        ablation: Ablation = "zero",
        folded: FoldedWeights | None = None,
        like: Scorer | None = None,
        first: int | None = None,
    ) -> None:
        if ablation == "resample" and prompts.counterfactual is None:
            raise ConfigError(
                "resample ablation needs a counterfactual for every prompt, and this task has none; use zero or mean"
            )
        self.model = model
        self.ablation: Ablation = ablation
        self.folded = folded or model.folded
        self.prompts = prompts.to(model.device)
        self.workspace = like.workspace if like else Workspace()
        self.batch_size = evaluation_batch(model, prompts.tokens.shape[1])
        self.batches = like.batches if like else _batches(self.prompts, self.batch_size, first)
        self.full_log_probs: ByBatch[Tensor] = like.full_log_probs if like else self._full_log_probs()
        self.full_parts: ByBatch[Outcome] = like.full_parts if like else self._full_parts()
        self._keep_replacements = _replacement_bytes(model, self.prompts) <= _CACHED_REPLACEMENT_BYTES
        self._replacements: dict[int, Replacement | None] = {}
        self._runners: dict[int, SparseRunner] = {}
        self._mean = mean_replacement(model, self.batches, self.folded) if ablation == "mean" else None

    def _full_log_probs(self) -> ByBatch[Tensor]:
        """The full model's log-probabilities [r, V] of each batch."""
        model, batches = self.model, self.batches
        return ByBatch(len(batches), lambda i: model.logits(batches[i].tokens, batches[i].last).log_softmax(-1))

    def _full_parts(self) -> ByBatch[Outcome]:
        batches, answers = self.batches, self.full_log_probs
        return ByBatch(len(batches), lambda index: read(batches[index], answers[index], answers[index]))

    @property
    def full(self) -> Outcome:
        """The model with every edge and weight."""
        return self.full_on(len(self.prompts))

    def full_on(self, n: int) -> Outcome:
        """The same on the first `n` prompts, up to the end of their last batch."""
        return on_first(self.full_parts, [len(batch) for batch in self.batches], n)

    def outcome(self, edge_mask: NDArray[np.bool_]) -> Outcome:
        """What the model does with these edges [E] only."""
        return self.outcomes(edge_mask)[0]

    def outcomes(self, *edge_masks: NDArray[np.bool_]) -> list[Outcome]:
        """The same of several sets of edges; what flows along the others is computed once for all of them."""
        parts: list[list[Outcome]] = [[] for _ in edge_masks]
        for index, batch in enumerate(self.batches):
            replacement = self._replacement(index, batch)
            for edge_mask, found in zip(edge_masks, parts, strict=True):
                found.append(self.read(index, self._logits(index, edge_mask, replacement)))
        return [Outcome.joined(found) for found in parts]

    def logits(self, index: int, edge_mask: NDArray[np.bool_]) -> Float[Tensor, "r V"]:
        """Logits [r, V] of one of the batches with these edges [E] only."""
        return self._logits(index, edge_mask, self._replacement(index, self.batches[index]))

    def _logits(
        self, index: int, edge_mask: NDArray[np.bool_], replacement: Replacement | None
    ) -> Float[Tensor, "r V"]:
        if not self.runs_sparsely(edge_mask):
            return self.dense_logits(index, edge_mask, replacement)
        run = self.runner(index, replacement).run(edge_mask, workspace=self.workspace)
        return self.folded.unembed(run.final)

    def runs_sparsely(self, edge_mask: NDArray[np.bool_]) -> bool:
        return bool(edge_mask.mean() < _SPARSE_BELOW)

    def runner(self, index: int, replacement: Replacement | None = None) -> SparseRunner:
        """Runs circuits on one of the batches. Kept, since finding what its prompts share takes time at every click.

        `replacement`: the batch's, if it is at hand.
        """
        if index in self._runners:
            return self._runners[index]
        batch = self.batches[index]
        replacement = replacement or self._replacement(index, batch)
        made = SparseRunner(self.model.graph, self.folded, batch.tokens, batch.last, replacement)
        if self.ablation != "resample" or self._keep_replacements:  # a runner holds its replacement
            self._runners[index] = made
        return made

    @torch.no_grad()
    def dense_logits(
        self, index: int, edge_mask: NDArray[np.bool_], replacement: Replacement | None = None
    ) -> Float[Tensor, "r V"]:
        """Logits [r, V] of one of the batches with these edges [E] only, whatever their number."""
        batch = self.batches[index]
        return self.model.masked(
            batch.tokens,
            edge_matrix(self.model.graph, edge_mask, self.model.device),
            last=batch.last,
            replacement=replacement or self._replacement(index, batch),
            folded=self.folded,
            workspace=self.workspace,
        )

    def replacement(self, tokens: Tensor, counterfactual: Tensor | None) -> Replacement | None:
        """What flows along ablated edges for any tokens [b, t]; the means are this split's."""
        if self.ablation != "resample":
            return self._mean
        return self.model.replacement("resample", tokens, counterfactual, folded=self.folded)

    def _replacement(self, index: int, batch: Prompts) -> Replacement | None:
        if self.ablation != "resample":
            return self._mean
        if index not in self._replacements:
            made = self.replacement(batch.tokens, batch.counterfactual)
            if not self._keep_replacements:
                return made
            self._replacements[index] = made
        return self._replacements[index]

    def read(self, index: int, logits: Float[Tensor, "r V"]) -> Outcome:
        """What the logits [r, V] of one batch's rows amount to, on its prompts."""
        return read(self.batches[index], logits, self.full_log_probs[index])

    def of_prompt(self, place: int) -> Scorer:
        """The same on one of the prompts alone."""
        return self.on(self.prompts.subset([place]))

    def on(self, prompts: Prompts) -> Scorer:
        """The same on other prompts, few enough for one batch; what is taken over a split, like a mean, stays its."""
        alone = copy(self)
        alone.prompts = prompts.to(self.model.device)
        alone.batches, alone.workspace = [alone.prompts], Workspace()
        alone.full_log_probs = alone._full_log_probs()
        alone.full_parts = alone._full_parts()
        alone._replacements, alone._runners = {}, {}
        return alone


@torch.no_grad()
def read(batch: Prompts, logits: Float[Tensor, "r V"], full: Float[Tensor, "r V"]) -> Outcome:
    """What the logits [r, V] of a batch's rows amount to; `full`: the full model's log-probabilities."""
    further = FURTHER.values()
    top, found = logits.argmax(-1), Candidates.of(logits, batch)
    seen = as_one_token(logits, full, batch) if further else ()
    values = (
        answers_right(found.scores, found.correct, found.wrong),
        top[: len(batch)],
        greedy_is_right(top, batch),
        logit_difference(found.scores, found.correct, found.wrong),
        along_right_answers(kl_divergence(full, logits), batch),
        *(measure.of(*seen) for measure in further if measure.of),
    )
    columns: list[NDArray[Any]] = [value.cpu().numpy() for value in values]
    named = dict(zip((measure.name for measure in further), columns[5:], strict=True))
    return Outcome(*columns[:5], further=named, texts=() if batch.steps is None else tuple(likeliest_texts(top, batch)))


def _batches(prompts: Prompts, size: int, first: int | None) -> list[Prompts]:
    """Consecutive parts of at most `size` rows, the first of at most `first` prompts."""
    if first is None or first >= len(prompts):
        return list(prompts.batches(size))
    begin, rest = (prompts.subset(part) for part in (range(first), range(first, len(prompts))))
    return [*begin.batches(size), *rest.batches(size)]


def mean_replacement(model: MaskedTransformer, batches: list[Prompts], folded: FoldedWeights) -> Replacement:
    """Each source's mean output over all prompts and positions, padding left out: [P, 1, 1, D].

    Rows that are a prompt with the beginning of an answer do not count: they would weigh prompts by their answers.
    """
    total, count = None, 0
    for batch in (batch.asked for batch in batches):
        part = model.replacement("mean", batch.tokens, None, batch.lengths, folded)
        assert part is not None
        n = int(batch.lengths.sum())
        total = part.sources * n if total is None else total + part.sources * n
        count += n
    assert total is not None
    return Replacement(total / count)


class Evaluator:
    """Scores any number of circuits of one model on one split; what they share is computed once."""

    def __init__(
        self, model: MaskedTransformer, prompts: Prompts, ablation: Ablation = "zero", first: int | None = None
    ) -> None:
        self.model = model
        self.base = Scorer(model, prompts, ablation, first=first)

    def scorer(self, circuit: Circuit) -> Scorer:
        """A scorer on the circuit's own weights. ArtifactError if circuit and model do not belong together."""
        check_fits(self.model, circuit)
        if circuit.weight_masks is None:
            return self.base
        folded = FoldedWeights.of(circuit_weights(self.model.weights, circuit))
        return Scorer(self.model, self.base.prompts, self.base.ablation, folded, like=self.base)

    def complement(self, circuit: Circuit) -> Outcome:
        """The complement of what was searched: of the edges, of the weights, or of both."""
        complement = circuit.complement()
        return self.scorer(complement).outcome(complement.edge_mask)

    def evaluate(self, circuit: Circuit) -> Evaluation:
        if circuit.weight_masks is None:
            of_circuit, of_complement = self.scorer(circuit).outcomes(circuit.edge_mask, circuit.complement().edge_mask)
        else:
            of_circuit, of_complement = self.scorer(circuit).outcome(circuit.edge_mask), self.complement(circuit)
        return Evaluation(
            full=self.base.full.metrics,
            circuit=of_circuit.metrics,
            complement=of_complement.metrics,
            edge_density=circuit.edge_density,
            weight_density=circuit.weight_density,
            n_edges=circuit.n_edges,
            searched_weight_density=circuit.searched_weight_density,
        )


def evaluate(
    model: MaskedTransformer, circuit: Circuit, prompts: Prompts, ablation: Ablation | None = None
) -> Evaluation:
    """All the figures of a circuit on a split; `ablation` overrides the one the circuit was found with."""
    return Evaluator(model, prompts, ablation or circuit.ablation).evaluate(circuit)


def check_fits(model: MaskedTransformer, circuit: Circuit) -> None:
    """ArtifactError unless the circuit is one of this model's graph."""
    if circuit.graph != model.graph:
        ours, theirs = model.graph, circuit.graph
        raise ArtifactError(
            f"the circuit is of a graph of {theirs.n_layers} layers × {theirs.n_heads} heads; {model.name} has "
            f"{ours.n_layers} × {ours.n_heads}. Load the model that the circuit was found in"
        )
