"""The search on one task after another, as the rows of a Markdown table: what `discover` gives its user.

    python -m tests.benchmarks.searches --model mini
    python -m tests.benchmarks.searches --model smollm2-135m --task ioi --task greater_than -- --validation 64

What follows `--` goes to every `discover`. Without tasks, every generator that the model can be asked. The circuits
are kept in `--out`, if given.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from discogp.cli.output import say
from discogp.tasks import list_tasks

_PUBLISHED = ("blimp/", "pararel/", "lre/", "mib/", "custom")  # need data that the repository lacks
HEADER = (
    "| task | full model | accuracy | complement | KL (nats) | edges kept | weights kept | time |\n"
    "|---|---|---|---|---|---|---|---|"
)  # fmt: skip


def row(task: str, result: dict[str, Any]) -> str:
    """Figures on test prompts; the full model's accuracy is on all of them, whether kept or not."""
    weights = "all" if result["weight_density"] is None else f"{result['weight_density']:.2%}"
    return (
        f"| `{task}` | {result['full_accuracy']:.1%} | {result['accuracy']:.3f} | "
        f"{result['complement_accuracy']:.3f} | {result['kl']:.3f} | "
        f"{result['edge_density']:.2%} ({result['n_edges']:,}) | {weights} | {result['seconds']:.0f} s |"
    )


def search(model: str, task: str, out: Path, more: Sequence[str]) -> dict[str, Any] | None:
    """The result of one `discover`, or None if it ended with an error, which it has told by itself."""
    command = [sys.executable, "-m", "discogp", "discover", "--model", model, "--task", task, "--out", str(out)]
    done = subprocess.run([*command, "--json", *more], stdout=subprocess.PIPE, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def arguments_and_more(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, list[str]]:
    """What the parser finds, and what follows `--`."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    own, more = arguments, []
    if "--" in arguments:
        own, more = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    return parser.parse_args(own), more


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--task", action="append", default=[])
    parser.add_argument("--out", type=Path, help="folder that the circuits are saved in, one folder a task")
    options, more = arguments_and_more(parser, arguments)
    tasks = options.task or [t.name for t in list_tasks() if not t.name.startswith(_PUBLISHED)]
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        say(HEADER)
        for task in tasks:
            folder = (options.out or Path(scratch)) / task.replace("/", "-")
            result = search(options.model, task, folder, more)
            failed += result is None
            say(row(task, result) if result else f"| `{task}` | failed | | | | | | |")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
