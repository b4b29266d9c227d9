"""The search for a circuit, as a generator of progress events that ends with the circuit.

    for progress in discover(model, task, preset("quick")):
        ...
    circuit = progress.circuit

Weights come first, then edges on the weights that were kept, which stay held throughout. Every so many steps the
thresholded masks are scored on the validation split; the circuit that is returned is the sparsest of those that are
faithful and complete enough, never simply the last, since accuracy swings while the density falls.

With a checkpoint file, an interrupted search can be continued (see `checkpoint`); with several processes, each takes
its part of every batch (see `distributed`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from discogp.engine.masked_transformer import MaskedTransformer
from discogp.errors import ConfigError
from discogp.methods.discogp.search import Search
from discogp.methods.discogp.settings import (
    PRESETS,
    PhaseConfig,
    SearchConfig,
    config_from_dict,
    config_to_dict,
    preset,
)
from discogp.prompts.prepare import TaskData, prepare
from discogp.search.checkpoint import CheckpointFile
from discogp.search.distributed import Processes
from discogp.search.identity import identity
from discogp.search.progress import Progress
from discogp.tasks import Task, get_task

__all__ = [
    "PRESETS",
    "PhaseConfig",
    "Progress",
    "SearchConfig",
    "config_from_dict",
    "config_to_dict",
    "discover",
    "preset",
]


def discover(
    model: MaskedTransformer,
    task: str | Task | TaskData,
    config: SearchConfig | None = None,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    processes: Processes | None = None,
) -> Iterator[Progress]:
    """Search for a circuit; the last event carries it. Stops early, without a circuit, once `cancelled()` is true.

    A task, or the name of one, is prepared with the default sizes and the config's seed; give `TaskData` for others.
    Without a config, the preset "balanced" over edges. The model is not changed.

    Every `config.checkpoint_every` steps the search is saved in the file `checkpoint`, if given; `resume` goes on from
    there, and the caller removes the file once the circuit is safe. `processes` share the batches of one search.
    Raises TaskError, ConfigError and, for a damaged checkpoint, ArtifactError before the first event.
    """
    config = config or preset("balanced", n_edges=model.graph.n_edges)
    if isinstance(task, str):
        task = get_task(task)
    resample = config.ablation == "resample"
    data = task if isinstance(task, TaskData) else prepare(model, task, seed=config.seed, need_counterfactual=resample)
    if config.ablation == "resample" and data.train.counterfactual is None:
        raise ConfigError(f"the task {data.task_name!r} has no counterfactual prompts; set ablation to zero or mean")
    file = (
        None if checkpoint is None else CheckpointFile(Path(checkpoint), identity(model, data, config_to_dict(config)))
    )
    if resume and file is None:
        raise ConfigError("there is nothing to resume from: no checkpoint file was given")
    saved = file.load() if resume and file else None
    return Search(model, data, config, cancelled, file, saved, processes or Processes()).run()
