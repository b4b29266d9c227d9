"""Is a search that leaves decided edges alone as good as one that looks at every edge in every step?

    python -m tests.benchmarks.seeds --model mini --task ioi --task greater_than
    python -m tests.benchmarks.seeds --model smollm2-135m --task ioi -- --preset quick --set ablation=resample

Both searches on the same seeds, one line of a Markdown table each: mean, least and greatest figure on test prompts.
Below it, for every figure, by how much the quick search's mean is worse, beside the spread (greatest less least) of the
search that looks at everything. Exit status 1 if a mean is worse by more than that spread.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from discogp.cli.output import say
from tests.benchmarks.searches import arguments_and_more, search

FIGURES: Mapping[str, tuple[str, float]] = {
    "edge_density": ("{:.2%}", 1.0),
    "kl": ("{:.3f}", 1.0),
    "accuracy": ("{:.3f}", -1.0),
    "complement_accuracy": ("{:.3f}", 0.0),
    "seconds": ("{:.0f}", 1.0),
}
"""How a figure is written, and whether more (1), less (−1) or a greater distance from chance (0) is worse."""
EVERYTHING = ("--set", "edges.full_every=1")
HEADER = "| task | search | " + " | ".join(FIGURES) + " |\n" + "|---" * (len(FIGURES) + 2) + "|"
_CHANCE = 0.5

Results = Sequence[Mapping[str, Any]]


def row(task: str, name: str, results: Results) -> str:
    cells = []
    for figure, (form, _) in FIGURES.items():
        values = [result[figure] for result in results]
        cells.append(f"{form} ({form}–{form})".format(mean(values), min(values), max(values)))
    return f"| `{task}` | {name} | " + " | ".join(cells) + " |"


def worse_by(figure: str, ours: Results, everything: Results) -> tuple[float, float]:
    """By how much our mean is worse (below 0: better), and the spread of the other search over its seeds."""
    sign = FIGURES[figure][1]
    mine, theirs = ([_badness(result[figure], sign) for result in results] for results in (ours, everything))
    return mean(mine) - mean(theirs), max(theirs) - min(theirs)


def _badness(value: float, sign: float) -> float:
    return sign * value if sign else abs(value - _CHANCE)


def compare(model: str, task: str, seeds: Sequence[int], folder: Path, more: Sequence[str]) -> bool:
    """Print a task's two rows and what is worse; whether all is within the spread."""
    found: dict[str, list[Mapping[str, Any]]] = {"undecided edges": [], "every edge": []}
    for seed in seeds:  # in turn, so that what else the machine does meets both
        for (name, results), how in zip(found.items(), ((), EVERYTHING), strict=True):
            out = folder / f"{task.replace('/', '-')}-{seed}-{name.replace(' ', '-')}"
            result = search(model, task, out, (*more, "--seed", str(seed), *how))
            if result is None:
                return False
            results.append(result)
            print(row(f"{task}, seed {seed}", name, [result]), file=sys.stderr, flush=True)  # noqa: T201
    ours, everything = found.values()
    for name, results in found.items():
        say(row(task, name, results))
    within = True
    for figure, (form, _) in FIGURES.items():
        if figure == "seconds":
            continue
        worse, spread = worse_by(figure, ours, everything)
        within &= worse <= spread
        say(f"<!-- {figure}: worse by {form.format(worse)}, spread {form.format(spread)} -->")
    return within


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--task", action="append", required=True)
    parser.add_argument("--seed", action="append", type=int, default=[], help="again for more; default 0, 1, 2")
    parser.add_argument("--out", type=Path, help="folder that the circuits are saved in")
    options, more = arguments_and_more(parser, arguments)
    with tempfile.TemporaryDirectory() as scratch:
        say(HEADER)
        seeds = options.seed or [0, 1, 2]
        within = [compare(options.model, task, seeds, options.out or Path(scratch), more) for task in options.task]
    return 0 if all(within) else 1


if __name__ == "__main__":
    sys.exit(main())
