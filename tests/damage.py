"""Damage done to files, bit by bit: `python -m tests.damage FOLDER|FILE … [--flips 3000] [--seed 0]` counts what opens.

A copy of a circuit with one flipped bit must be refused, or open as the very same circuit: anything else would be taken
for what was measured.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from discogp.circuits.artifact import load_circuit
from discogp.circuits.circuit import Circuit
from discogp.errors import DiscoGPError


def same(left: Circuit, right: Circuit) -> bool:
    """Whether two circuits are one in everything that is saved."""
    parts = ("graph", "ablation", "searched", "unmasked_weights")
    if any(getattr(left, name) != getattr(right, name) for name in parts):
        return False
    if dict(left.provenance) != dict(right.provenance) or not _equal(left.edge_mask, right.edge_mask):
        return False
    ours, theirs = left.weight_masks or {}, right.weight_masks or {}
    return _equal(left.edge_scores, right.edge_scores) and (
        (left.weight_masks is None) == (right.weight_masks is None)
        and set(ours) == set(theirs)
        and all(_equal(mask, theirs[name]) for name, mask in ours.items())
    )


def _equal(left: np.ndarray | None, right: np.ndarray | None) -> bool:
    return left is right if left is None or right is None else np.array_equal(left, right)


def flip(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def flips(original: Path, count: int, seed: int = 0) -> Counter[str]:
    """What became of `count` copies of a circuit (folder or file) with one flipped bit each, the files in turn.

    "refused", "the same", "another circuit" (the fault that is looked for) or "crashed", each with the file.
    """
    chance, found = random.Random(seed), Counter[str]()
    whole = load_circuit(original)
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / original.name
        shutil.copytree(original, copy) if original.is_dir() else shutil.copy(original, copy)
        files = sorted(copy.iterdir()) if copy.is_dir() else [copy]
        for place_in_turn in range(count):
            file = files[place_in_turn % len(files)]
            content = file.read_bytes()
            file.write_bytes(flip(content, chance.randrange(8 * len(content))))
            try:
                outcome = "the same" if same(load_circuit(copy), whole) else "another circuit"
            except DiscoGPError:
                outcome = "refused"
            except Exception as error:  # whatever a reader lets through is what is looked for
                outcome = f"crashed ({type(error).__name__})"
            found[f"{file.name}: {outcome}"] += 1
            file.write_bytes(content)
    return found


def as_older(folder: Path, change: Callable[[dict], None] = lambda document: None) -> Path:
    """A circuit folder as releases without checksums wrote it, with a change to its JSON."""
    file = folder / "circuit.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    document.pop("checksums", None)
    change(document)
    file.write_text(json.dumps(document), encoding="utf-8")
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("circuits", nargs="+", type=Path, metavar="FOLDER|FILE")
    parser.add_argument("--flips", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for circuit in options.circuits:
        for outcome, count in sorted(flips(circuit, options.flips, options.seed).items()):
            sys.stdout.write(f"{circuit.name:32} {outcome:48} {count:6,}\n")


if __name__ == "__main__":
    main()
