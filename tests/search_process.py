"""A search in a process of its own, to be killed or to be one of several: `python -m tests.search_process JSON`.

JSON: "model" (folder), "config" (settings), "checkpoint" (file or null), "resume", "out" (circuit folder or null).
Prints every step; the first process of several saves the circuit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from discogp.circuits.artifact import save_circuit
from discogp.discovery import discover
from discogp.engine.masked_transformer import load_model
from discogp.methods.discogp.settings import config_from_dict
from discogp.search.distributed import joined
from tests.random_task import random_data


def main(asked: dict) -> None:
    with joined("cpu") as (processes, device):
        model = load_model(asked["model"], device)
        config = config_from_dict(asked["config"])
        for progress in discover(
            model,
            random_data(model),
            config,
            checkpoint=asked.get("checkpoint"),
            resume=asked.get("resume", False),
            processes=processes,
        ):
            print(progress.step, flush=True)  # noqa: T201
            if progress.circuit is not None and asked.get("out") and processes.first:
                save_circuit(progress.circuit, Path(asked["out"]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
