"""What every edge of a circuit does, to first order: from one backward pass for all of them.

Axes: reader r (R), source s (P), edge e (E), prompt b, candidate K, vocabulary V. With the mask m of the circuit and a
figure f, leaving out edge e changes f by about −∂f/∂m_e: exactly where f is linear in that edge. KL(circuit ‖ circuit
without the edge) has no slope at the circuit itself, so f is the logit difference, signed, or KL(full ‖ circuit). The
idea: attribution patching, Nanda 2023; Syed et al. 2023, arXiv 2310.10348.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from discogp.circuits.circuit import Circuit
from discogp.engine.lanes import Lanes
from discogp.engine.masks import edge_matrix
from discogp.engine.workspace import Workspace
from discogp.evaluation.candidates import Candidates, along_right_answers, asked_ids
from discogp.evaluation.measures import kl_divergence, logit_difference
from discogp.evaluation.scorer import Scorer
from discogp.tasks.encoded import Prompts

Of = Literal["logit_diff", "kl"]

# Of a batch that is scored, how much is differentiated at once: the way back needs as much again for every buffer.
_SHARE_OF_A_BATCH = 4


@dataclass(frozen=True, eq=False)
class FirstOrder:
    """Estimated changes of a figure (`of`), mean over prompts, where one edge of the circuit is left out.

    `effects` [k], in the order of `circuit.edges`: logits for logit_diff, nats for kl.
    """

    circuit: Circuit
    of: Of
    effects: NDArray[np.float32]

    @property
    def by_name(self) -> dict[str, float]:
        """Of every edge, the strongest first, whichever its sign."""
        names = self.circuit.edges
        return {names[i]: float(self.effects[i]) for i in np.argsort(-np.abs(self.effects), kind="stable").tolist()}


def first_order(scorer: Scorer, circuit: Circuit, of: Of = "logit_diff") -> FirstOrder:
    """The first-order effect of every edge that the circuit keeps, on the scorer's prompts."""
    model = scorer.model
    parts = list(scorer.prompts.batches(max(1, scorer.batch_size // _SHARE_OF_A_BATCH)))
    lanes = Lanes.for_batch(scorer.prompts.n_rows, model.device)
    workspaces = [Workspace() for _ in range(lanes.n)]
    kept = edge_matrix(model.graph, circuit.edge_mask, model.device)
    total = torch.zeros_like(kept)
    for start in range(0, len(parts), lanes.n):
        some = list(zip(parts[start : start + lanes.n], workspaces, strict=False))
        for gradient in lanes.map(lambda item: _gradient(scorer, kept, item[0], item[1], of), some):
            total += gradient
    mean = (total / -len(scorer.prompts)).cpu().numpy()
    edges = np.flatnonzero(circuit.edge_mask)
    return FirstOrder(circuit, of, mean[model.graph.rows[edges], model.graph.columns[edges]].astype(np.float32))


def _gradient(
    scorer: Scorer, kept: Float[Tensor, "R P"], batch: Prompts, workspace: Workspace, of: Of
) -> Float[Tensor, "R P"]:
    """d(sum of the figure over a batch's prompts)/d mask."""
    replacement = scorer.replacement(batch.tokens, batch.counterfactual)
    ids = asked_ids(batch) if of == "logit_diff" else None
    with torch.enable_grad():
        mask = kept.clone().requires_grad_()
        logits = scorer.model.masked(
            batch.tokens,
            mask,
            last=batch.last,
            replacement=replacement,
            folded=scorer.folded,
            candidates=ids,
            workspace=workspace,
            wanted=kept > 0,
        )
        said = figure(scorer, logits, batch, of) if ids is None else _difference(Candidates.of_asked(logits, batch))
        said.sum().backward()
    assert mask.grad is not None
    return mask.grad


def figure(scorer: Scorer, logits: Float[Tensor, "r V"], batch: Prompts, of: Of) -> Float[Tensor, "b"]:
    """Of every prompt of a batch, the figure [b] that the logits [r, V] of its rows amount to. Differentiable."""
    if of == "kl":
        full = scorer.model.logits(batch.tokens, batch.last).log_softmax(-1)
        return along_right_answers(kl_divergence(full, logits), batch)
    return _difference(Candidates.of(logits, batch))


def _difference(found: Candidates) -> Float[Tensor, "b"]:
    return logit_difference(found.scores, found.correct, found.wrong)
