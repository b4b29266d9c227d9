"""`discover`: search for a circuit and save it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from discogp.cli.circuits import table
from discogp.cli.output import add_command, add_json_flag, note, say, say_json
from discogp.cli.task_options import add_task_options, named_task
from discogp.errors import ConfigError
from discogp.methods.base import METHODS, get_method
from discogp.methods.settings import settings_to_dict, with_assignments
from discogp.paths import check_writable
from discogp.runs import RunSettings
from discogp.runs.places import places
from discogp.terms import Searched

if TYPE_CHECKING:
    from discogp.runs.search import Ready, Saved
    from discogp.search.distributed import Processes


def add_to(commands: Any) -> None:
    discover = add_command(commands, "discover", _discover, "search for a circuit and save it")
    discover.add_argument("--model", required=True, help="a known model, a Hugging Face name or a folder")
    add_task_options(discover)
    discover.add_argument("--mask", choices=get_args(Searched), default="edges")
    discover.add_argument("--method", choices=list(METHODS), default="discogp", help="see `methods list`")
    presets = list(dict.fromkeys(name for method in METHODS.values() for name in method.presets))
    discover.add_argument("--preset", choices=presets, help="default: the method's own, such as balanced")
    discover.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="e.g. edges.steps=300")
    discover.add_argument("--seed", type=int, default=0)
    discover.add_argument("--train", type=int, default=256, help="prompts in the training split")
    discover.add_argument("--validation", type=int, default=128)
    discover.add_argument("--test", type=int, default=256)
    discover.add_argument("--all-prompts", action="store_true", help="keep prompts the full model gets wrong")
    discover.add_argument("--few-prompts", action="store_true", help="search even where they tell little")
    discover.add_argument("--device", default="cpu")
    discover.add_argument("--out", type=Path, metavar="DIR", help="where the circuit is saved; not needed to dry-run")
    discover.add_argument(
        "--dry-run", action="store_true", help="tell how much memory and time the search will take, and stop"
    )
    discover.add_argument(
        "--memory-limit", type=float, metavar="GB", help="memory that the search may use; default: what is free"
    )
    discover.add_argument(
        "--resume", action="store_true", help="go on from OUT.checkpoint, which an interrupted search has left"
    )
    add_json_flag(discover)


def _discover(options: argparse.Namespace) -> None:
    from discogp.search.distributed import joined

    with joined(options.device) as (processes, device):
        _search(options, processes, device)


def _search(options: argparse.Namespace, processes: Processes, device: str) -> None:
    """One process of a search: every one searches, the first one tells and saves."""
    if not options.out and not options.dry_run:
        raise ConfigError("give the folder to save the circuit in: --out DIR")
    if options.dry_run or not processes.first:
        _run(options, processes, device)
        return
    check_writable(options.out)  # which has a name, then, for others to be made of
    with places(options.out, _last(options.out), _checkpoint(options.out)):  # before the model is loaded
        _run(options, processes, device)


def _run(options: argparse.Namespace, processes: Processes, device: str) -> None:
    from discogp.engine.masked_transformer import load_model
    from discogp.runs.search import Saved, Stage, ready, run_search

    tell = note if processes.first else _silent
    method = get_method(options.method)
    if options.memory_limit is not None and options.memory_limit <= 0:
        raise ConfigError(f"--memory-limit is {options.memory_limit:g} GB; it must be more than 0")
    limit = None if options.memory_limit is None else options.memory_limit * 1024
    settings = _settings(options, device)
    model = load_model(options.model, device=device)
    config = method.preset(
        options.preset or method.default_preset, options.mask, model.graph.n_edges, seed=options.seed
    )
    config = with_assignments(config, options.set)
    settings = replace(settings, config=settings_to_dict(config))
    if options.dry_run:
        _dry_run(ready(settings, model), limit, options)
        return
    out = options.out
    checkpoint = _checkpoint(out)
    for stage in run_search(
        settings, out, _last(out), checkpoint,
        model=model, resume=options.resume, processes=processes, memory_limit_mb=limit,
    ):  # fmt: skip
        if isinstance(stage, Stage):
            if stage.ready is not None:
                _tell_prompts(stage.ready, options, tell)
                if checkpoint.exists() and not options.resume:
                    tell(f"note: {checkpoint} of an unfinished search will be overwritten; --resume goes on with it")
        elif isinstance(stage, Saved):
            _tell_saved(stage, options)
        elif stage.validation:
            tell(_progress_line(stage))


def _last(out: Path) -> Path:
    return out.with_name(f"{out.name}-last")


def _checkpoint(out: Path) -> Path:
    return out.with_name(f"{out.name}.checkpoint")


def _settings(options: argparse.Namespace, device: str) -> RunSettings:
    """All but the method's settings, whose preset depends on the size of the model."""
    name, task_options = named_task(options) or ("", {})
    return RunSettings(
        model=options.model,
        task=name,
        config={},
        task_options=task_options,
        sizes={"train": options.train, "validation": options.validation, "test": options.test},
        only_known=not options.all_prompts,
        device=device,
        method=options.method,
        bos=options.bos,
        few_prompts=options.few_prompts,
    )


def _tell_prompts(search: Ready, options: argparse.Namespace, tell: Callable[[str], None]) -> None:
    for message in search.data.notes:
        tell(f"note: {message}")
    kept = "all are kept" if options.all_prompts else "those are kept"
    model, right = search.model, search.data.full_accuracy
    tell(f"{model.name}: {model.graph.n_edges:,} edges; {right:.1%} of the prompts right, {kept}")


def _tell_saved(saved: Saved, options: argparse.Namespace) -> None:
    figures, seconds = saved.evaluation.to_json(), saved.last.elapsed
    result = {"out": str(options.out), "best_step": saved.last.best_step, "seconds": round(seconds, 1)}
    result |= {**figures, **saved.data.shares()}
    say_json(result) if options.json else say(table(figures) + f"\n{seconds:.1f} s; saved in {options.out}")


def _dry_run(search: Ready, limit_mb: float | None, options: argparse.Namespace) -> None:
    """Memory, and time if there is room to measure it."""
    _tell_prompts(search, options, note)
    found = search.estimate(limit_mb)
    say_json(found.to_json()) if options.json else say(str(found))
    if not found.fits:
        search.fitting(limit_mb)  # says what would fit


def _silent(text: str) -> None:
    """What processes other than the first one tell."""


def _progress_line(progress: Any) -> str:
    v = progress.validation
    return (
        f"{progress.phase:7} {progress.step:>5}/{progress.total_steps}  accuracy {v['accuracy']:z.3f}  "
        f"complement {v['complement_accuracy']:z.3f}  KL {v['kl']:z.3f}  density {v['density']:z.4f}  "
        f"{progress.elapsed:.0f} s, {progress.eta:.0f} s left"
    )
