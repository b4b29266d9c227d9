"""Memory of an edge step against the number of nodes: it grows as the sources P and readers, not as their pairs.

Layers are added to one shape with the same tokens and width, and each size is measured in a process of its own, since
a process's peak never falls. The ratio is that of memory per node, the largest model's against the smallest's: 1 where
memory grows as P; where it grew as P², the ratio of the numbers of nodes, which is the yardstick's.
"""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import torch

from discogp.errors import ConfigError
from discogp.methods.discogp.edge_phase import EdgePhase
from discogp.methods.discogp.settings import EdgeConfig, SearchConfig
from discogp.speed.report import Comparison, Side, peak_mb
from discogp.speed.shapes import SHAPES, case, random_model

_LAYERS = (4, 8, 16, 32)


def measure(shape: str, batch: int | None, length: int | None, repeats: int, device: str) -> Comparison:
    on = case(shape, batch, length, repeats, device)  # checks the arguments
    prompts, positions = on.prompts.tokens.shape
    if on.device.type != "cpu":
        raise ConfigError("this benchmark measures a process's memory; leave out --device")
    heads = SHAPES[shape].n_heads
    nodes = [layers * (heads + 1) + 1 for layers in _LAYERS]
    found = [[_in_a_process(shape, prompts, positions, layers) for _ in range(repeats)] for layers in _LAYERS]
    per_node = [
        Side(f"memory of an edge step, {n:,} sources", tuple(v / n for v in values), "MB a source")
        for n, values in zip(nodes, found, strict=True)
    ]
    growth = math.log(min(found[-1]) / min(found[0])) / math.log(nodes[-1] / nodes[0])
    return Comparison(
        "memory",
        f"{shape} with {', '.join(map(str, _LAYERS))} layers, batch {prompts} × {positions} tokens",
        per_node[-1],
        per_node[0],
        extra={
            "step_mb": {str(n): round(min(values)) for n, values in zip(nodes, found, strict=True)},
            "grows_as_P_to_the": growth,
        },
    )


def _in_a_process(shape: str, prompts: int, positions: int, layers: int) -> float:
    command = [sys.executable, "-m", "discogp.speed.memory", shape, str(prompts), str(positions), str(layers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{layers} layers could not be measured: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)


def _increase(shape: str, prompts: int, positions: int, layers: int) -> float:
    """MB that one edge step adds to a process that has the model."""
    on = case(shape, prompts, positions, 1, "cpu")
    model = random_model(replace(SHAPES[shape], n_layers=layers, d_vocab=1000))
    tokens = on.prompts.tokens % 1000
    batch = replace(on.prompts, tokens=tokens, correct=on.prompts.correct % 1000, wrong=on.prompts.wrong % 1000)
    before = peak_mb(on.device)
    search = SearchConfig(objective="task", batch_size=prompts, edges=EdgeConfig())
    EdgePhase(model, batch, search, torch.Generator().manual_seed(0)).step(batch, None, 0)
    return peak_mb(on.device) - before


if __name__ == "__main__":
    name, *numbers = sys.argv[1:]
    sys.stdout.write(f"{_increase(name, *map(int, numbers))}\n")
