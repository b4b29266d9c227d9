"""An edge step with the paper's objective against two plain passes (gradients to inputs, thresholded logits only)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from discogp.engine.plain import embed, plain_block, unembed
from discogp.methods.discogp.edge_phase import EdgePhase
from discogp.methods.discogp.settings import EdgeConfig, SearchConfig
from discogp.models.weights import ModelWeights
from discogp.speed.report import Comparison, Side, in_turn, peak_mb
from discogp.speed.shapes import Case, case
from discogp.tasks.encoded import Prompts

TWO_PLAIN_PASSES = "two plain forward and backward passes"


def measure(shape: str, batch: int | None, length: int | None, repeats: int, device: str) -> Comparison:
    on = case(shape, batch, length, repeats, device)
    search = SearchConfig(objective="task", edges=EdgeConfig())
    phase = EdgePhase(on.model, on.prompts, search, torch.Generator(device=on.device).manual_seed(0))

    ours, yardstick = in_turn(on.device, repeats, lambda: phase.step(on.prompts, None, 0), lambda: two_plain_passes(on))
    return Comparison(
        "step",
        on.setting,
        Side("edge step (kept pass, complement pass, backward, optimizer)", ours),
        Side(TWO_PLAIN_PASSES, yardstick),
        extra={"peak_mb": peak_mb(on.device)},
    )


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
