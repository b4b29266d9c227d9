"""`import`: a circuit file of another program becomes a circuit folder like those of our own searches."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from discogp.cli.output import add_command, add_json_flag, note, say, say_json
from discogp.cli.task_options import add_task_options, named_task
from discogp.errors import ConfigError
from discogp.paths import claimed


def add_to(commands: Any) -> None:
    command = add_command(commands, "import", _import, "read a circuit of MIB, EAP-IG or ACDC, or a list of edges")
    command.add_argument("file", type=Path, metavar="FILE", help="MIB / EAP-IG JSON, or edges as text, CSV or JSON")
    command.add_argument("--model", required=True, help="the model that the circuit is of")
    command.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the circuit")
    add_task_options(command, default="none: the circuit is not scored")
    command.add_argument("--edges", type=int, metavar="N", help="keep the N strongest, for a file that has only scores")
    command.add_argument("--threshold", type=float, help="or those with at least this score (of attributions: size)")
    command.add_argument(
        "--ablation", choices=("zero", "mean", "resample"),
        help="default: resample, as EAP-IG and ACDC do, where the task has counterfactuals; otherwise zero",
    )  # fmt: skip
    for name, default in (("train", 256), ("validation", 128), ("test", 256)):
        command.add_argument(f"--{name}", type=int, default=default, help=f"{name} prompts (default: {default})")
    command.add_argument("--seed", type=int, default=0, help="of the prompts (default: 0)")
    command.add_argument("--all-prompts", action="store_true", help="those too that the full model answers wrongly")
    command.add_argument("--device", default="cpu")
    add_json_flag(command)


def _import(options: argparse.Namespace) -> None:
    from discogp.circuits.artifact import check_replaceable

    check_replaceable(options.out)  # before a model is loaded
    with claimed(options.out):
        _read_and_save(options)


def _read_and_save(options: argparse.Namespace) -> None:
    from discogp.circuits.artifact import load_circuit, save_circuit
    from discogp.circuits.foreign import reading
    from discogp.cli.circuits import table
    from discogp.engine.masked_transformer import load_model
    from discogp.evaluation.scorer import check_fits
    from discogp.runs.adoption import adopt, of_model
    from discogp.tasks import SplitSizes

    if not options.file.is_file():
        load_circuit(options.file)  # a circuit folder can be opened as it is; says what is missing otherwise
        raise ConfigError(f"{options.file} is a circuit folder already; nothing to import")
    model = load_model(options.model, device=options.device)
    circuit = load_circuit(options.file, model.graph)
    if options.edges is None and options.threshold is None and (why := reading.undecided(circuit)):
        raise ConfigError(f"{options.file}: {why} (--edges N or --threshold X)")
    circuit = reading.keep(circuit, options.edges, options.threshold)
    check_fits(model, circuit)
    messages = [*circuit.notes, *reading.notes(circuit)]
    result: dict[str, Any] = {"n_edges": circuit.n_edges, "edge_density": circuit.edge_density}
    if (named := named_task(options)) is None:
        circuit = of_model(circuit, model)
        messages.append("no task was given, so the circuit is not scored")
    else:
        sizes = SplitSizes(options.train, options.validation, options.test)
        adopted = adopt(
            circuit, model, *named, ablation=options.ablation, sizes=sizes, seed=options.seed,
            only_known=not options.all_prompts, bos=options.bos,
        )  # fmt: skip
        circuit, result = adopted.circuit, adopted.evaluation.to_json()
        result |= {"split": "test", "ablation": circuit.ablation, **adopted.data.shares()}
        messages += adopted.notes
    save_circuit(circuit, options.out)
    for message in messages:
        note(f"note: {message}")
    if options.json:
        say_json({**result, "imported_from": circuit.provenance["imported_from"], "out": str(options.out)})
        return
    say((table(result) + "\n" if named else "") + f"saved in {options.out}")
