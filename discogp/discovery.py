"""The search for a circuit, as a generator of progress events that ends with the circuit, whatever the method.

    for progress in discover(model, task, preset("quick")):
        ...
    circuit = progress.circuit

With a checkpoint file, an interrupted search can be continued (see `discogp.search.checkpoint`); with several
processes, each takes its part of the work (see `discogp.search.distributed`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from discogp.engine.masked_transformer import MaskedTransformer
from discogp.errors import ConfigError
from discogp.methods.base import get_method, method_of
from discogp.methods.settings import MethodSettings, settings_to_dict
from discogp.paths import check_writable
from discogp.prompts.prepare import TaskData, prepare
from discogp.search.checkpoint import CheckpointFile
from discogp.search.distributed import Processes
from discogp.search.identity import identity
from discogp.search.job import Job
from discogp.search.progress import Progress
from discogp.tasks import Task, get_task


def discover(
    model: MaskedTransformer,
    task: str | Task | TaskData,
    method: str | MethodSettings = "discogp",
    config: MethodSettings | None = None,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    processes: Processes | None = None,
) -> Iterator[Progress]:
    """Search for a circuit; the last event carries it. Stops early, without a circuit, once `cancelled()` is true.

    A task, or the name of one, is prepared with the default sizes and the config's seed; give `TaskData` for others.
    `method` is the name of one, or, in its place, settings, which are of one. Without a config, the method's default
    preset over edges. The model is not changed.

    With a file `checkpoint`, methods that can be continued save the search there; `resume` goes on from it, and the
    caller removes it once the circuit is safe. `processes` share the work of one search.
    Raises TaskError, ConfigError and, for a damaged checkpoint, ArtifactError before the first event.
    """
    if isinstance(method, str):
        chosen = get_method(method)
    elif config is None:
        chosen, config = method_of(method), method
    else:
        raise ConfigError(f"settings were given twice: {type(method).__name__} and {type(config).__name__}")
    if config is None:
        config = chosen.preset(chosen.default_preset, n_edges=model.graph.n_edges)
    assert config is not None
    chosen.check(config)
    resample = config.ablation == "resample"
    if isinstance(task, str):
        task = get_task(task)
    data = task if isinstance(task, TaskData) else prepare(model, task, seed=config.seed, need_counterfactual=resample)
    if resample and data.train.counterfactual is None:
        raise ConfigError(f"the task {data.task_name!r} has no counterfactual prompts; set ablation to zero or mean")
    file = None
    if checkpoint is not None:
        check_writable(Path(checkpoint))
        file = CheckpointFile(Path(checkpoint), identity(model, data, chosen.name, settings_to_dict(config)))
    if resume and file is None:
        raise ConfigError("there is nothing to resume from: no checkpoint file was given")
    saved = file.load() if resume and file else None
    processes = processes or Processes()
    job = Job(model, data, cancelled, file if processes.first else None, saved, processes)
    return chosen.search(job, config)
