"""A weight step with the paper's objective against two plain passes (gradients to inputs, thresholded logits only).

The yardstick is the edge step's, so that both steps can be compared; a weight step needs the gradients of all weights
as well, so three matrix products where the plain pass has two.
"""

from __future__ import annotations

import torch

from discogp.methods.discogp.settings import SearchConfig
from discogp.methods.discogp.weight_phase import WeightPhase
from discogp.speed.report import Comparison, Side, in_turn, peak_mb
from discogp.speed.shapes import case
from discogp.speed.step import TWO_PLAIN_PASSES, two_plain_passes


def measure(shape: str, batch: int | None, length: int | None, repeats: int, device: str) -> Comparison:
    on = case(shape, batch, length, repeats, device)
    search = SearchConfig(mask="weights", objective="task")
    phase = WeightPhase(on.model, on.prompts, search, torch.Generator(device=on.device).manual_seed(0))
    ours, yardstick = in_turn(on.device, repeats, lambda: phase.step(on.prompts, None, 0), lambda: two_plain_passes(on))
    side = Side("weight step (sample, kept pass, complement pass, gradients of all weights, optimizer)", ours)
    return Comparison(
        "weights",
        f"{on.setting}, {phase.units.n_units:,} mask logits",
        side,
        Side(TWO_PLAIN_PASSES, yardstick),
        extra={"seconds": side.median, "peak_mb": peak_mb(on.device)},
    )
