"""The command line: `python -m discogp …`, the same capabilities as the page.

Results go to standard output (JSON with --json), progress and errors to standard error. Exit code 0: done; 1: something
the user can mend, told in one line; 2: wrong usage; 130: interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from discogp.errors import ConfigError, DiscoGPError
from discogp.settings import PRESETS, PhaseConfig, SearchConfig, config_from_dict, config_to_dict, preset


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except DiscoGPError as error:
        _note(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        _note("interrupted")
        return 130
    except BrokenPipeError:
        # The reader of a pipe (head, say) has seen enough.
        sys.stderr.close()
        return 0
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _note(text: str) -> None:
    sys.stderr.write(text + "\n")


def _say_json(data: Any) -> None:
    _say(json.dumps(data, indent=2, allow_nan=False))


# ------------------------------------------------------------------- commands


def _models_list(options: argparse.Namespace) -> None:
    from discogp.models.registry import list_models

    known = list_models()
    if options.json:
        _say_json([{"name": m.name, "title": m.title, "available": m.available()} for m in known])
        return
    for model in known:
        _say(f"{model.name:14} {'ready  ' if model.available() else 'not here'}  {model.title}: {model.description}")
    _say("Any Hugging Face name or local folder of the GPT-2 and Llama families works as well.")


def _models_get(options: argparse.Namespace) -> None:
    from discogp.models.registry import get_model

    _say(str(get_model(options.name).get(lambda message, share: _note(f"{share:4.0%} {message}"))))


def _tasks_list(options: argparse.Namespace) -> None:
    from discogp.tasks import list_tasks

    tasks = list_tasks()
    if options.json:
        _say_json([{"name": t.name, "title": t.title, "description": t.description, "source": t.source} for t in tasks])
        return
    for task in tasks:
        _say(f"{task.name:26} {task.title}: {task.description}")


def _discover(options: argparse.Namespace) -> None:
    from discogp import discover, evaluate, load_model, prepare, save_circuit
    from discogp.artifact import check_replaceable
    from discogp.tasks import SplitSizes, get_task

    last = options.out.with_name(f"{options.out.name}-last")
    for folder in (options.out, last):
        check_replaceable(folder)  # before minutes of work, not after
    task = get_task(options.task, **({"path": options.data} if options.data else {}))
    sizes = SplitSizes(options.train, options.validation, options.test)
    model = load_model(options.model, device=options.device)
    config = preset(options.preset, options.mask, model.graph.n_edges, seed=options.seed)
    config = _with_settings(config, options.set)
    data = prepare(model, task, sizes, options.seed, only_known=not options.all_prompts)
    for note in data.notes:
        _note(f"note: {note}")
    _note(f"{model.name}: {model.graph.n_edges:,} edges; {data.full_accuracy:.1%} of the prompts right, those are kept")
    final = None
    for progress in discover(model, data, config):
        final = progress
        if progress.validation:
            _note(_progress_line(progress))
    assert final is not None
    assert final.circuit is not None
    evaluation = evaluate(model, final.circuit, data.test).to_json()
    circuit = replace(final.circuit, provenance={**final.circuit.provenance, "metrics": evaluation})
    save_circuit(circuit, options.out)
    if final.last_circuit is not None:
        save_circuit(final.last_circuit, last)
    result = {"out": str(options.out), "best_step": final.best_step, "seconds": round(final.elapsed, 1), **evaluation}
    _say_json(result) if options.json else _say(_table(evaluation) + f"\n{final.elapsed:.1f} s; saved in {options.out}")


def _evaluate(options: argparse.Namespace) -> None:
    from discogp import evaluate, load_circuit, load_model
    from discogp.data import restore

    circuit = load_circuit(options.circuit)
    name = options.model or circuit.provenance.get("model")
    if not isinstance(name, str):
        raise ConfigError("this circuit does not say which model it is of; give one with --model")
    model = load_model(name, device=options.device)
    recipe = dict(circuit.provenance)
    if options.task:
        recipe["task"], recipe["task_options"] = options.task, {"path": options.data} if options.data else {}
    data = restore(model, recipe)
    result = evaluate(model, circuit, getattr(data, options.split), options.ablation).to_json()
    result |= {"split": options.split, "ablation": options.ablation or circuit.ablation, "searched": circuit.searched}
    _say_json(result) if options.json else _say(_table(result))


def _export(options: argparse.Namespace) -> None:
    from discogp import load_circuit
    from discogp.export import export

    path = export(
        load_circuit(options.circuit), options.format, options.out, max_edges=options.max_edges, theme=options.theme
    )
    _say(str(path))


def _bench_step(options: argparse.Namespace) -> None:
    from discogp.bench import bench_step

    result = bench_step(options.shape, options.batch, options.length, options.repeats, options.device)
    _say_json(result.to_json()) if options.json else _say(str(result))


# -------------------------------------------------------------------- helpers


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
            known = [f.name for f in fields(SearchConfig) if f.name not in ("edges", "weights")]
            known += [f"{part}.{f.name}" for part in ("edges", "weights") for f in fields(PhaseConfig)]
            raise ConfigError(f"there is no setting {key!r}; allowed: {', '.join(known)}")
        try:
            target[name] = type(target[name])(text)
        except ValueError:
            raise ConfigError(f"{key} is {text!r}; give a {type(target[name]).__name__}") from None
    return config_from_dict(data)


def _progress_line(progress: Any) -> str:
    v = progress.validation
    return (
        f"{progress.phase:7} {progress.step:>5}/{progress.total_steps}  accuracy {v['accuracy']:.3f}  "
        f"complement {v['complement_accuracy']:.3f}  KL {v['kl']:.3f}  density {v['density']:.4f}  "
        f"{progress.elapsed:.0f} s, {progress.eta:.0f} s left"
    )


def _table(evaluation: dict[str, Any]) -> str:
    lines = [f"{'':12} {'accuracy':>9} {'top-1':>9} {'KL (nats)':>10} {'logit diff':>11}"]
    for name in ("full", "circuit", "complement"):
        m = evaluation[name]
        lines.append(f"{name:12} {m['accuracy']:9.3f} {m['top1']:9.3f} {m['kl']:10.4f} {m['logit_diff']:11.3f}")
    weights = evaluation["weight_density"]
    lines.append(
        f"{evaluation['n_edges']:,} edges, {evaluation['edge_density']:.2%}"
        + ("" if weights is None else f"; {weights:.2%} of the weights")
        + f"; {evaluation['n']} prompts"
    )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m discogp", description="Find, score and export circuits.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(parent: Any, name: str, run: Any, help: str) -> argparse.ArgumentParser:
        made = parent.add_parser(name, help=help, description=help)
        made.set_defaults(run=run)
        return made

    def json_flag(to: argparse.ArgumentParser) -> None:
        to.add_argument("--json", action="store_true", help="print JSON")

    models = commands.add_parser("models", help="known models").add_subparsers(required=True, metavar="list|get")
    json_flag(command(models, "list", _models_list, "what is known, and what is on this machine"))
    command(models, "get", _models_get, "bring a model to this machine").add_argument("name")

    tasks = commands.add_parser("tasks", help="known tasks").add_subparsers(required=True, metavar="list")
    json_flag(command(tasks, "list", _tasks_list, "what can be searched for"))

    discover = command(commands, "discover", _discover, "search for a circuit and save it")
    discover.add_argument("--model", required=True, help="a known model, a Hugging Face name or a folder")
    discover.add_argument("--task", required=True)
    discover.add_argument("--data", help="file of published data to use instead of the built-in generator (BLiMP)")
    discover.add_argument("--mask", choices=("edges", "weights", "both"), default="edges")
    discover.add_argument("--preset", choices=PRESETS, default="balanced")
    discover.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="e.g. edges.steps=300")
    discover.add_argument("--seed", type=int, default=0)
    discover.add_argument("--train", type=int, default=256, help="prompts in the training split")
    discover.add_argument("--validation", type=int, default=128)
    discover.add_argument("--test", type=int, default=256)
    discover.add_argument("--all-prompts", action="store_true", help="keep prompts the full model gets wrong")
    discover.add_argument("--device", default="cpu")
    discover.add_argument("--out", required=True, type=Path, metavar="DIR")
    json_flag(discover)

    evaluate = command(commands, "evaluate", _evaluate, "score a saved circuit")
    evaluate.add_argument("circuit", type=Path, metavar="DIR")
    evaluate.add_argument("--split", choices=("train", "validation", "test"), default="test")
    evaluate.add_argument("--ablation", choices=("zero", "mean", "resample"), help="default: the search's")
    evaluate.add_argument("--model", help="default: the circuit's")
    evaluate.add_argument("--task", help="default: the circuit's")
    evaluate.add_argument("--data", help="file of published data for --task")
    evaluate.add_argument("--device", default="cpu")
    json_flag(evaluate)

    export = command(commands, "export", _export, "write a circuit as a picture or as data")
    export.add_argument("circuit", type=Path, metavar="DIR")
    export.add_argument("--format", required=True, help="svg, png, pdf, html, json or graphml")
    export.add_argument("--out", required=True, type=Path, metavar="FILE")
    export.add_argument("--max-edges", type=int, help="only the strongest; default: what the format shows well")
    export.add_argument("--theme", choices=("light", "dark"), default="light")

    bench = commands.add_parser("bench", help="measure speed").add_subparsers(required=True, metavar="step")
    step = command(bench, "step", _bench_step, "an edge-search step against two plain forward and backward passes")
    step.add_argument("--shape", choices=("gpt2-small", "small"), default="gpt2-small")
    step.add_argument("--batch", type=int, default=None, help="prompts; default 16 (gpt2-small) or 32 (small)")
    step.add_argument("--length", type=int, default=16, help="tokens of a prompt")
    step.add_argument("--repeats", type=int, default=7)
    step.add_argument("--device", default="cpu")
    json_flag(step)
    return parser
