"""A short search in a process of its own, which tells what it estimated and what it took: `-m tests.measured_search`.

Argument: JSON of mask, batch, settings, train, validation, and of a model and a task, or of a shape (`speed.shapes`)
and the length of its random prompts. The edges' masks are those of a search half way, which is when it
takes most: its samples are too full to be gathered, and its circuit is sparse. Prints the estimate and the measured
increase of the process's peak memory in MB; start it with `discogp.runs.launch.GIVES_BACK`, as a run's worker is.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

from discogp import discover, load_model, prepare, preset
from discogp.engine.masked_transformer import MaskedTransformer
from discogp.methods.discogp.estimate import estimate
from discogp.prompts.prepare import TaskData
from discogp.speed.report import peak_mb
from discogp.speed.shapes import Shape, random_model, random_prompts
from discogp.tasks import SplitSizes, get_task


def asked(wanted: dict[str, Any]) -> tuple[MaskedTransformer, TaskData]:
    sizes = SplitSizes(wanted.get("train", 64), wanted.get("validation", 64), 16)
    if "shape" not in wanted:
        model = load_model(wanted["model"])
        return model, prepare(model, get_task(wanted["task"]), sizes, only_known=False)
    model = random_model(Shape(**wanted["shape"]))
    splits = [random_prompts(model, size, wanted["length"]) for _, size in sizes.items()]
    return model, TaskData(*splits, task_name="random", full_accuracy=1.0, kept_share=1.0)


def main() -> None:
    wanted = json.loads(sys.argv[1])
    model, data = asked(wanted)
    config = preset("balanced", wanted["mask"], model.graph.n_edges)
    config = replace(
        config,
        evaluations=1,
        batch_size=wanted["batch"],
        micro_batch=wanted["batch"],
        edges=replace(config.edges, steps=2, polish=0, initial_logit=-1.5, initial_spread=1.5, attribution_span=0.0),
        weights=replace(config.weights, steps=2),
        **wanted.get("settings", {}),
    )
    found, before = estimate(model, data, config), peak_mb(model.device)
    for _ in discover(model, data, config):
        pass
    print(json.dumps({**found.to_json(), "measured_mb": peak_mb(model.device) - before, "before_mb": before}))  # noqa: T201


if __name__ == "__main__":
    main()
