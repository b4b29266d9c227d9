"""Read a circuit file in a process of its own: parsing a large one holds Python's one lock, and with it every visitor.

The process gets the file's bytes and gives back the circuit, or the error that a reader is told. No Streamlit here.
"""

from __future__ import annotations

import pickle
import subprocess
import sys

from discogp import paths
from discogp.circuits.circuit import Circuit
from discogp.circuits.foreign.reading import read_circuit
from discogp.errors import ArtifactError, DiscoGPError

_SMALL = 1_000_000  # bytes, which are read within a tenth of a second, quicker than a process starts
_LONGEST = 300  # seconds


def read_file(content: bytes, name: str) -> Circuit:
    """As `read_circuit`, without the name of a model. DiscoGPError."""
    if len(content) <= _SMALL:
        return read_circuit(content, name)
    command = [sys.executable, "-m", "app.explore.read_file", name]
    try:
        done = subprocess.run(
            command, input=content, capture_output=True, timeout=_LONGEST, check=False, cwd=paths.REPOSITORY
        )
    except subprocess.TimeoutExpired:
        raise ArtifactError(f"{name}: reading it takes more than {_LONGEST} s; pass a smaller file") from None
    if done.returncode != 0:
        raise ArtifactError(f"{name}: its {len(content):,} bytes could not be read; pass a smaller file")
    found = pickle.loads(done.stdout)  # written by this very module, not by the file
    if isinstance(found, DiscoGPError):
        raise found
    return found


def main() -> int:
    """The process: bytes in, a pickle of the circuit or of what is wrong with the file out."""
    try:
        found: Circuit | DiscoGPError = read_circuit(sys.stdin.buffer.read(), sys.argv[1])
    except DiscoGPError as error:
        found = error
    sys.stdout.buffer.write(pickle.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
