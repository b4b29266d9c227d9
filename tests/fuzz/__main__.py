"""`python -m tests.fuzz`: more cases than the tests run, and what they show."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from tests.fuzz.run import fuzz


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="of each kind of file")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # Streamlit's, that no browser is there
    with tempfile.TemporaryDirectory() as place:
        found = fuzz(Path(place), options.cases, options.seed)
    for fault, count in found.faults.most_common():
        sys.stdout.write(f"{count:6} {fault}\n         {found.examples[fault]!r}\n")
    sys.stdout.write(
        f"{found.cases:,} cases: {found.refused:,} refused, {sum(found.faults.values()):,} faults of "
        f"{len(found.faults)} kinds\n"
    )
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
