"""`discover`: search for a circuit and save it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discogp.cli.circuits import table
from discogp.cli.output import add_command, add_json_flag, note, say, say_json
from discogp.cli.task_options import add_task_options, named_task
from discogp.errors import ConfigError
from discogp.methods.discogp.settings import PHASES, PRESETS, SearchConfig, config_from_dict, config_to_dict, preset

if TYPE_CHECKING:
    from discogp.engine.masked_transformer import MaskedTransformer
    from discogp.prompts.prepare import TaskData
    from discogp.search.distributed import Processes


def add_to(commands: Any) -> None:
    discover = add_command(commands, "discover", _discover, "search for a circuit and save it")
    discover.add_argument("--model", required=True, help="a known model, a Hugging Face name or a folder")
    add_task_options(discover)
    discover.add_argument("--mask", choices=("edges", "weights", "both"), default="edges")
    discover.add_argument("--preset", choices=PRESETS, default="balanced")
    discover.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="e.g. edges.steps=300")
    discover.add_argument("--seed", type=int, default=0)
    discover.add_argument("--train", type=int, default=256, help="prompts in the training split")
    discover.add_argument("--validation", type=int, default=128)
    discover.add_argument("--test", type=int, default=256)
    discover.add_argument("--all-prompts", action="store_true", help="keep prompts the full model gets wrong")
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
    from discogp.circuits.artifact import check_replaceable, save_circuit
    from discogp.discovery import discover
    from discogp.engine.masked_transformer import load_model
    from discogp.evaluation.scorer import evaluate
    from discogp.methods.discogp.estimate import fitting
    from discogp.prompts.prepare import prepare
    from discogp.tasks import SplitSizes, get_task

    tell = note if processes.first else _silent
    if options.out is None and not options.dry_run:
        raise ConfigError("give the folder to save the circuit in: --out DIR")
    out = options.out or Path("dry-run")
    last = out.with_name(f"{out.name}-last")
    checkpoint = out.with_name(f"{out.name}.checkpoint")
    for folder in () if options.dry_run else (out, last):
        check_replaceable(folder)  # before minutes of work, not after
    name, task_options = named_task(options) or ("", {})
    task = get_task(name, **task_options)
    sizes = SplitSizes(options.train, options.validation, options.test)
    model = load_model(options.model, device=device)
    config = preset(options.preset, options.mask, model.graph.n_edges, seed=options.seed)
    config = _with_settings(config, options.set)
    known = not options.all_prompts
    data = prepare(model, task, sizes, options.seed, known, need_counterfactual=config.ablation == "resample")
    for message in data.notes:
        tell(f"note: {message}")
    kept = "those are kept" if known else "all are kept"
    tell(f"{model.name}: {model.graph.n_edges:,} edges; {data.full_accuracy:.1%} of the prompts right, {kept}")
    limit = None if options.memory_limit is None else options.memory_limit * 1024
    if options.dry_run:
        _dry_run(model, data, config, limit, options.json)
        return
    config = fitting(model, data, config, limit)
    if checkpoint.exists() and not options.resume:
        tell(f"note: {checkpoint} of an unfinished search will be overwritten; --resume goes on with it")
    final = None
    for progress in discover(
        model, data, config, checkpoint=checkpoint, resume=options.resume, processes=processes
    ):  # fmt: skip
        final = progress
        if progress.validation:
            tell(_progress_line(progress))
    if not processes.first:
        return
    assert final is not None
    assert final.circuit is not None
    evaluation = evaluate(model, final.circuit, data.test).to_json()
    circuit = replace(final.circuit, provenance={**final.circuit.provenance, "metrics": evaluation})
    save_circuit(circuit, out)
    if final.last_circuit is not None:
        save_circuit(final.last_circuit, last)
    checkpoint.unlink(missing_ok=True)
    result = {"out": str(out), "best_step": final.best_step, "seconds": round(final.elapsed, 1)}
    result |= {**evaluation, **data.shares()}
    say_json(result) if options.json else say(table(evaluation) + f"\n{final.elapsed:.1f} s; saved in {out}")


def _dry_run(
    model: MaskedTransformer, data: TaskData, config: SearchConfig, limit_mb: float | None, as_json: bool
) -> None:
    """One step of each phase, timed, if there is room for it."""
    from discogp.methods.discogp.estimate import estimate, fitting, measured

    found = estimate(model, data, config, limit_mb)
    if found.fits:
        found = measured(model, data, config, found)
    say_json(found.to_json()) if as_json else say(str(found))
    if not found.fits:
        fitting(model, data, config, limit_mb)  # says what would fit


_SWITCH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _silent(text: str) -> None:
    """What processes other than the first one tell."""


def _with_settings(config: SearchConfig, assignments: Sequence[str]) -> SearchConfig:
    """`edges.steps=300 objective=kl` on top of a preset; ConfigError names what is wrong."""
    data = config_to_dict(config)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment!r} has no value; write it as name=value, such as edges.steps=300")
        phase, dot, name = key.rpartition(".")
        target = data.get(phase) if dot else data
        if not isinstance(target, dict) or name not in target or isinstance(target[name], dict):
            known = [f.name for f in fields(SearchConfig) if f.name not in PHASES]
            known += [f"{part}.{f.name}" for part, kind in PHASES.items() for f in fields(kind)]
            raise ConfigError(f"there is no setting {key!r}; allowed: {', '.join(known)}")
        try:
            target[name] = _SWITCH[text.lower()] if isinstance(target[name], bool) else type(target[name])(text)
        except (ValueError, KeyError):
            wanted = "true or false" if isinstance(target[name], bool) else f"a {type(target[name]).__name__}"
            raise ConfigError(f"{key} is {text!r}; give {wanted}") from None
    return config_from_dict(data)


def _progress_line(progress: Any) -> str:
    v = progress.validation
    return (
        f"{progress.phase:7} {progress.step:>5}/{progress.total_steps}  accuracy {v['accuracy']:.3f}  "
        f"complement {v['complement_accuracy']:.3f}  KL {v['kl']:.3f}  density {v['density']:.4f}  "
        f"{progress.elapsed:.0f} s, {progress.eta:.0f} s left"
    )
