"""An edge step with the paper's objective against two plain passes (gradients to inputs, thresholded logits only).

At first every edge is undecided; how many more multiplications such a step has is told beside. Late in a search few
are: with `undecided` and `kept`, shares of the edges, so many mask logits lie about zero and so many are surely on, all
others are decided, and the step is one of a preset: the completeness loss on part of the batch.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F

from discogp.engine.plain import embed, plain_block, unembed
from discogp.errors import ConfigError
from discogp.methods.discogp.edge_phase import EdgePhase
from discogp.methods.discogp.settings import EdgeConfig, SearchConfig, preset
from discogp.models.weights import ModelWeights
from discogp.speed.arithmetic import multiplications
from discogp.speed.report import Comparison, Side, in_turn, peak_mb
from discogp.speed.shapes import Case, case
from discogp.tasks.encoded import Prompts

TWO_PLAIN_PASSES = "two plain forward and backward passes"
_SURE = 5.0
"""A mask logit that no noise turns."""


def measure(
    shape: str,
    batch: int | None,
    length: int | None,
    repeats: int,
    device: str,
    undecided: float = 1.0,
    kept: float = 0.0,
) -> Comparison:
    """ConfigError for shares that are none, or too many together."""
    if not (0 <= undecided <= 1 and 0 <= kept <= 1 and undecided + kept <= 1):
        raise ConfigError(f"undecided is {undecided} and kept {kept}; they are shares of the edges, together at most 1")
    on = case(shape, batch, length, repeats, device)
    edges, late = EdgeConfig(), undecided < 1
    if late:
        balanced = preset("balanced", n_edges=on.model.graph.n_edges).edges
        edges = replace(balanced, attribution_span=0.0, noise=balanced.noise_end, learning_rate=1e-5)
    search = SearchConfig(objective="task", edges=edges)

    def begun() -> EdgePhase:
        return EdgePhase(on.model, on.prompts, search, torch.Generator(device=on.device).manual_seed(0))

    phase = begun()
    if late:
        _decide(phase, undecided, kept)
    step = 1 if late else 0  # the first is a full one

    ours, yardstick = in_turn(
        on.device, repeats, lambda: phase.step(on.prompts, None, step), lambda: two_plain_passes(on)
    )
    extra = {"peak_mb": peak_mb(on.device)}
    if late:
        extra |= {"undecided": undecided, "kept": kept, "completeness_share": edges.completeness_share}
    else:
        counted = multiplications(lambda: begun().step(on.prompts, None, step))
        extra["ratio_of_multiplications"] = counted / multiplications(lambda: two_plain_passes(on))
    return Comparison(
        "step",
        on.setting,
        Side("edge step (kept pass, complement pass, backward, optimizer)", ours),
        Side(TWO_PLAIN_PASSES, yardstick),
        extra=extra,
    )


@torch.no_grad()
def _decide(phase: EdgePhase, undecided: float, kept: float) -> None:
    """Mask logits as late in a search, at random places."""
    drawn = torch.rand(phase.logits.shape, generator=torch.Generator().manual_seed(0)).to(phase.logits.device)
    open_ = torch.where(drawn < kept, _SURE, phase.logits - phase.config.initial_logit)
    phase.logits.copy_(torch.where(drawn < kept + undecided, open_, 2 * phase.config.decided_below))


def two_plain_passes(on: Case) -> None:
    """The yardstick of a step, which too runs the model twice."""
    for _ in range(2):
        _plain_pass(on.model.weights, on.prompts)


def _plain_pass(weights: ModelWeights, prompts: Prompts) -> None:
    """The unmasked model forward, and backward to its inputs."""
    x = embed(weights, prompts.tokens).requires_grad_()
    out = x
    for layer in weights.layers:
        out = plain_block(out, layer, weights.config)
    ids = torch.cat([prompts.correct, prompts.wrong], 1)
    logits = unembed(weights, out[:, -1], ids)
    F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device)).backward()
