"""Run cases and keep what is not allowed: a crash, an error of more than one line, a case that takes too long."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from discogp.errors import DiscoGPError
from tests.fuzz.targets import targets

SECONDS = 3.0  # of the processor's time for one case, many times what the slowest takes
LONGEST = 1_500  # letters of an error


@dataclass
class Findings:
    """How many cases there were, how many were refused, and every fault with the case that showed it."""

    cases: int = 0
    refused: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def fault(self, what: str, case: str) -> None:
        self.faults[what] += 1
        self.examples.setdefault(what, case[:300])


def fuzz(place: Path, cases: int, seed: int = 0) -> Findings:
    """`cases` of each kind of file, always the same ones for a seed."""
    found = Findings()
    for target in targets(place):
        chance = random.Random(f"{seed} {target.name}")
        for _ in range(cases):
            case = target.spoil(chance)
            found.cases += 1
            began = time.process_time()
            try:
                target.read()
            except DiscoGPError as error:
                found.refused += 1
                if "\n" in str(error) or not str(error) or len(str(error)) > LONGEST:
                    found.fault(f"{target.name}: an error of {len(str(error)):,} letters", case)
            except Exception as error:  # nothing else is allowed
                found.fault(f"{target.name}: {type(error).__name__}: {str(error)[:60]}", case)
            if (took := time.process_time() - began) > SECONDS:
                found.fault(f"{target.name}: {took:.0f} s", case)
    return found
