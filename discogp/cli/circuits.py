"""`evaluate`, `minimality`, `export` and `sparsity`: what to do with a saved circuit."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discogp.circuits.measures import FURTHER
from discogp.cli.output import add_command, add_json_flag, note, say, say_json
from discogp.cli.task_options import add_task_options, named_task
from discogp.errors import ConfigError

if TYPE_CHECKING:
    from discogp.circuits.circuit import Circuit
    from discogp.drawing.view import Widths
    from discogp.engine.masked_transformer import MaskedTransformer
    from discogp.evaluation.session import AblationSession
    from discogp.export import Measured
    from discogp.prompts.prepare import TaskData


def add_to(commands: Any) -> None:
    _add_prompt_options(add_command(commands, "evaluate", _evaluate, "score a saved circuit"))
    minimality = add_command(commands, "minimality", _minimality, "leave out each edge of a saved circuit in turn")
    _add_prompt_options(minimality)
    minimality.add_argument("--top", type=int, default=20, help="edges to print; --json prints all (default: 20)")
    minimality.add_argument("--sample", type=int, metavar="N", help="leave out N edges drawn at random; default: all")
    minimality.add_argument("--sample-seed", type=int, default=0, metavar="SEED", help="of the draw (default: 0)")

    export = add_command(commands, "export", _export, "write a circuit as a picture, as data or as a model")
    export.add_argument("circuit", type=Path, metavar="DIR")
    export.add_argument(
        "--format", required=True,
        help="svg, png, pdf, html, json, graphml, gexf, dot, mib (MIB / EAP-IG JSON), edges, csv; hf: a Hugging Face "
        "folder, the circuit's weights only",
    )  # fmt: skip
    export.add_argument("--out", required=True, type=Path, metavar="FILE")
    export.add_argument("--model", help="of which hf makes a copy, and which --score runs; default: the circuit's")
    export.add_argument("--max-edges", type=int, help="only the strongest; default: what the format shows well")
    export.add_argument("--theme", choices=("light", "dark"), default="light")
    export.add_argument("--off", metavar="NAMES", help="edges and nodes to switch off, with commas: m3,input->a0.h1<q>")
    export.add_argument(
        "--widths",
        choices=("score", "estimate", "effect"),
        default="score",
        help="what pictures show by the width of lines: scores, or, running the model, what the logit difference loses "
        "without the edge, estimated for all from one backward pass or found out one by one",
    )
    export.add_argument("--score", action="store_true", help="run the model: the figures are those of what is left")

    sparsity = add_command(commands, "sparsity", _sparsity, "show how many weights a circuit keeps, and where")
    sparsity.add_argument("circuit", type=Path, metavar="DIR")
    sparsity.add_argument("--neurons", action="store_true", help="of every MLP neuron too (with --json)")
    add_json_flag(sparsity)


def _add_prompt_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("circuit", type=Path, metavar="DIR")
    command.add_argument("--split", choices=("train", "validation", "test"), default="test")
    command.add_argument("--ablation", choices=("zero", "mean", "resample"), help="default: the search's")
    command.add_argument("--model", help="default: the circuit's")
    add_task_options(command, default="the circuit's")
    command.add_argument("--device", default="cpu")
    add_json_flag(command)


def _opened(options: argparse.Namespace) -> Circuit:
    """The circuit that is asked for; what there is to say of its file is told."""
    from discogp.circuits.artifact import load_circuit

    circuit = load_circuit(options.circuit)
    for message in circuit.notes:
        note(f"note: {message}")
    return circuit


def _restored(options: argparse.Namespace) -> tuple[MaskedTransformer, Circuit, TaskData]:
    """The model, the circuit with the ablation asked for, and the task's prompts that the options name."""
    from discogp.engine.masked_transformer import load_model
    from discogp.prompts.prepare import restore

    circuit = _opened(options)
    name = options.model or circuit.provenance.get("model")
    if not isinstance(name, str):
        raise ConfigError("this circuit does not say which model it is of; give one with --model")
    model = load_model(name, device=options.device)
    recipe = dict(circuit.provenance)
    if options.data is not None and options.task_file is None:
        options.task = options.task or circuit.provenance.get("task")  # the same data, moved elsewhere
    if (named := named_task(options)) is not None:
        recipe["task"], recipe["task_options"] = named
    recipe |= {} if options.bos is None else {"bos": options.bos}
    ablation = options.ablation or circuit.ablation
    recipe["need_counterfactual"] = ablation == "resample" or recipe.get("need_counterfactual", False)
    data = restore(model, recipe)
    for message in data.notes:
        note(f"note: {message}")
    return model, replace(circuit, ablation=ablation), data


def _evaluate(options: argparse.Namespace) -> None:
    from discogp.evaluation.scorer import evaluate

    model, circuit, data = _restored(options)
    result = evaluate(model, circuit, getattr(data, options.split)).to_json()
    result |= {"split": options.split, "ablation": circuit.ablation, "searched": circuit.searched, **data.shares()}
    say_json(result) if options.json else say(table(result))


def _minimality(options: argparse.Namespace) -> None:
    from discogp.evaluation.session import AblationSession

    if options.top < 1:
        raise ConfigError(f"--top is {options.top}; it must be at least 1")
    if options.sample_seed < 0:
        raise ConfigError(f"--sample-seed is {options.sample_seed}; it must be at least 0")
    if options.sample is not None and options.sample < 1:
        raise ConfigError(f"--sample is {options.sample}; it must be at least 1, or be left out for all edges")
    model, circuit, data = _restored(options)
    prompts = getattr(data, options.split)
    session = AblationSession(model, circuit, prompts)
    found = session.leave_one_out() if options.sample is None else session.sampled(options.sample, options.sample_seed)
    if options.json:
        say_json(found.to_json() | {"split": options.split, "ablation": circuit.ablation})
        return
    say(f"{'edge':24} {'change':>9} {'changed':>8} {'Δ accuracy':>11} {'Δ KL':>9} {'Δ logit diff':>13}")
    for e in found.effects[: options.top]:
        say(f"{e.edge:24} {e.change:z9.4f} {e.changed:8} {e.accuracy:+z11.3f} {e.kl:+z9.4f} {e.logit_diff:+z13.3f}")
    say(
        f"minimality {found.minimality:z.3f}: {found.n_idle} of {len(found.effects)} edges can go, one at a time, and "
        f"nothing changes; {len(prompts)} prompts"
    )
    if found.interval is not None:
        low, high = found.interval
        say(
            f"drawn at random, with seed {found.seed}, from {circuit.n_edges:,} edges, whose minimality is between "
            f"{low:.3f} and {high:.3f} (95 %)"
        )


def _export(options: argparse.Namespace) -> None:
    from discogp.export import FORMATS, export

    circuit = _opened(options)
    if options.format == "hf":
        from discogp.export.huggingface import export_huggingface

        say(str(export_huggingface(circuit, options.out, options.model)))
        return
    if options.widths != "score" and not FORMATS[options.format].draws:
        raise ConfigError(f"--widths says how wide the lines of a picture are; a {options.format} has none")
    runs = options.score or options.widths != "score"
    if options.model is not None and not runs:
        raise ConfigError(
            f"--model says of which model hf makes a copy, or --score or --widths runs; a {options.format} needs none"
        )
    off = [name.strip() for name in (options.off or "").split(",") if name.strip()]
    circuit.without(off)  # names the first that does not exist, before a model is loaded
    at_work = _at_work(options) if runs else None
    measured = _measured(at_work, off) if at_work and options.score else None
    widths = _widths(at_work, options.widths) if at_work and options.widths != "score" else None
    path = export(
        circuit, options.format, options.out, max_edges=options.max_edges, theme=options.theme, off=off,
        measured=measured, source=str(options.circuit), widths=widths,
    )  # fmt: skip
    say(str(path))
    if off and measured is None:
        note("note: the figures of what is left were not computed, and the export says so; --score computes them")


def _at_work(options: argparse.Namespace) -> AblationSession:
    """The circuit with its model and its own test prompts."""
    from discogp.evaluation.session import AblationSession

    own = {"ablation": None, "task": None, "task_file": None, "data": None, "bos": None, "answers": None}
    model, circuit, data = _restored(argparse.Namespace(**{**vars(options), **own, "exact": False, "device": "cpu"}))
    return AblationSession(model, circuit, data.test)


def _measured(session: AblationSession, off: list[str]) -> Measured:
    """The figures of the circuit, and of what is left of it."""
    from discogp.export import Measured

    parts = (session.full, session.circuit, session.complement)
    edited = session.without(off).metrics.to_json() if off else None
    return Measured(*(part.metrics.to_json() for part in parts), edited=edited)


def _widths(session: AblationSession, name: str) -> Widths:
    from discogp.drawing.view import Widths

    if name == "estimate":
        values = session.first_order().by_name
    else:
        values = {effect.edge: effect.logit_diff for effect in session.leave_one_out().effects}
    return Widths.of(session.base.graph, values, name)


def _sparsity(options: argparse.Namespace) -> None:
    from discogp.circuits.sparsity import sparsity

    if options.neurons and not options.json:
        raise ConfigError("--neurons is data for plots, a number a neuron; give --json with it")
    found = sparsity(_opened(options))
    say_json(found.to_json(neurons=options.neurons)) if options.json else say(str(found))


def table(evaluation: dict[str, Any]) -> str:
    further = FURTHER.values()
    heads = "".join(f" {measure.short:>12}" for measure in further)
    lines = [f"{'':12} {'accuracy':>9} {'top-1':>9} {'KL (nats)':>10} {'logit diff':>11}{heads}"]
    for name in ("full", "circuit", "complement"):
        m = evaluation[name]
        more = "".join(f" {m[measure.name]:z12.4f}" for measure in further)
        lines.append(
            f"{name:12} {m['accuracy']:z9.3f} {m['top1']:z9.3f} {m['kl']:z10.4f} {m['logit_diff']:z11.3f}{more}"
        )
    weights, searched = evaluation["weight_density"], evaluation["searched_weight_density"]
    lines.append(
        f"{evaluation['n_edges']:,} edges, {evaluation['edge_density']:.2%}"
        + ("" if weights is None else f"; {weights:.2%} of the weights")
        + ("" if searched == weights else f", {searched:.2%} of those searched")
        + f"; {evaluation['n']} prompts"
    )
    return "\n".join(lines)
