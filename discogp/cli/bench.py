"""`bench`: measure speed and memory, each figure as a ratio of two things timed in turn in one run."""

from __future__ import annotations

import argparse
from typing import Any

from discogp.cli.output import add_command, add_json_flag, say, say_json


def add_to(commands: Any) -> None:
    from discogp.speed import BENCHMARKS

    bench = commands.add_parser("bench", help="measure speed and memory")
    kinds = bench.add_subparsers(required=True, metavar="|".join(BENCHMARKS))
    for name, benchmark in BENCHMARKS.items():
        one = add_command(kinds, name, _run, benchmark.help)
        one.set_defaults(benchmark=name)
        one.add_argument("--shape", choices=benchmark.shapes, default=benchmark.shapes[0])
        one.add_argument("--batch", type=int, default=None, help="prompts; default: what the shape is measured with")
        one.add_argument("--length", type=int, default=None, help="tokens of a prompt; default: the shape's")
        one.add_argument("--repeats", type=int, default=benchmark.repeats)
        one.add_argument("--device", default="cpu")
        if benchmark.example:
            help = "instead of a shape: a model with a shipped circuit, on that circuit's own prompts"
            one.add_argument("--model", default=None, help=help)
        for option, help_text in benchmark.options.items():
            one.add_argument(f"--{option}", type=float, default=None, help=help_text)
        add_json_flag(one)


def _run(options: argparse.Namespace) -> None:
    from discogp.speed import BENCHMARKS

    case = (options.shape, options.batch, options.length, options.repeats, options.device)
    benchmark, model = BENCHMARKS[options.benchmark], getattr(options, "model", None)
    more = {name: getattr(options, name) for name in benchmark.options if getattr(options, name) is not None}
    result = benchmark.run(*case, model, **more)
    say_json(result.to_json()) if options.json else say(str(result))
