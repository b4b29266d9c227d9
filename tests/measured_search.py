"""A short search in a process of its own, which tells what it estimated and what it took: `-m tests.measured_search`.

Argument: JSON of model, task, mask, batch, settings. The edges' masks are those of a search half way, which is when it
takes most: its samples are too full to be gathered, and its circuit is sparse. Prints the estimate and the measured
increase of the process's peak memory in MB; start it with `discogp.runs.launch.GIVES_BACK`, as a run's worker is.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

from discogp import discover, load_model, prepare, preset
from discogp.methods.discogp.estimate import estimate
from discogp.speed.report import peak_mb
from discogp.tasks import SplitSizes, get_task


def main() -> None:
    wanted = json.loads(sys.argv[1])
    model = load_model(wanted["model"])
    sizes = SplitSizes(wanted.get("train", 64), wanted.get("validation", 64), 16)
    data = prepare(model, get_task(wanted["task"]), sizes, only_known=False)
    config = preset("balanced", wanted["mask"], model.graph.n_edges)
    config = replace(
        config,
        evaluations=1,
        batch_size=wanted["batch"],
        micro_batch=wanted["batch"],
        edges=replace(config.edges, steps=2, initial_logit=-1.5, initial_spread=1.5, attribution_span=0.0),
        weights=replace(config.weights, steps=2),
        **wanted.get("settings", {}),
    )
    found, before = estimate(model, data, config), peak_mb(model.device)
    for _ in discover(model, data, config):
        pass
    print(json.dumps({**found.to_json(), "measured_mb": peak_mb(model.device) - before, "before_mb": before}))  # noqa: T201


if __name__ == "__main__":
    main()
