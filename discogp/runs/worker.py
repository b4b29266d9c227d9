"""The process of one run: `python -m discogp.runs.worker RUN_FOLDER`.

It waits for its turn, prepares the data, searches, evaluates on the test split, and writes everything into
its folder. Whoever watches reads that folder; nothing else is shared. Exit code 0: done, 1: failed,
130: cancelled.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from discogp.errors import DiscoGPError
from discogp.runs.store import Run, RunStore

_CANCELLED = 130


class _Cancelled(BaseException):
    """Raised by the signal handler; a BaseException, so that no `except Exception` on the way swallows it."""


def _on_terminate(_signal: int, _frame: FrameType | None) -> None:
    raise _Cancelled


@contextmanager
def _turn(root: Path) -> Iterator[None]:
    """Wait until no other run of this home folder computes: two searches on the same cores would only be slower.

    A file lock, because the system frees it when its holder dies, however it dies.
    """
    import fcntl

    with (root / ".turn").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_search(store: RunStore, run: Run) -> None:
    """Search, evaluate, save. Imports torch, so call it only in a process meant for computing."""
    from discogp.circuits.artifact import save_circuit
    from discogp.discovery import discover
    from discogp.engine.masked_transformer import load_model
    from discogp.evaluation.scorer import evaluate
    from discogp.methods.discogp.estimate import fitting
    from discogp.methods.discogp.settings import config_from_dict
    from discogp.prompts.prepare import prepare
    from discogp.search import checkpoint
    from discogp.tasks import SplitSizes, get_task

    settings = run.settings
    began = time.monotonic()

    def note(phase: str, message: str, **more: Any) -> None:
        elapsed = round(time.monotonic() - began, 3)
        store.append_event(run.id, {"phase": phase, "message": message, "elapsed": elapsed, **more})

    config = config_from_dict(dict(settings.config))
    note("prepare", f"Loading {settings.model}")
    model = load_model(settings.model, device=settings.device)
    note("prepare", f"Preparing prompts of {settings.task}")
    task = get_task(settings.task, **settings.task_options)
    sizes = SplitSizes(**settings.sizes)
    resample = config.ablation == "resample"
    data = prepare(model, task, sizes, config.seed, settings.only_known, need_counterfactual=resample)
    counts = {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}
    note(
        "prepare",
        f"The full model answers {data.full_accuracy:.1%} of the prompts rightly",
        data={**counts, "full_accuracy": data.full_accuracy, "kept_share": data.kept_share},
        notes=list(data.notes),
    )

    config = fitting(model, data, config)
    cancel_file, saved = store.cancel_file(run.id), store.checkpoint(run.id)
    resuming = saved.is_file()
    if resuming:
        step = checkpoint.read(saved)["state"]["done"]
        store.forget_events_after(run.id, step)
        note("prepare", f"Continuing after step {step}")
    circuit = last = None
    for progress in discover(
        model, data, config, cancelled=cancel_file.exists, checkpoint=saved, resume=resuming
    ):  # fmt: skip
        store.append_event(run.id, progress_event(progress))
        circuit, last = progress.circuit or circuit, progress.last_circuit or last
    if cancel_file.exists():
        raise _Cancelled
    if circuit is None:
        raise RuntimeError("the search ended without a circuit")

    note("evaluate", "Evaluating on the test split")
    evaluation = evaluate(model, circuit, data.test)
    more = {"metrics": evaluation.to_json(), "run": run.id, "created": run.created}
    save_circuit(replace(circuit, provenance={**circuit.provenance, **more}), store.circuit_folder(run.id))
    if last is not None:
        save_circuit(last, store.folder(run.id) / "circuit-last")
    saved.unlink(missing_ok=True)
    figures = evaluation.to_json()
    note("evaluate", "Saved", test={key: figures[key] for key in ("accuracy", "complement_accuracy", "top1", "kl")})


def progress_event(progress: Any) -> dict[str, Any]:
    """A `discogp.discovery.Progress` as one line of JSON: every field but the circuit, which is saved apart."""
    return {
        "phase": progress.phase,
        "step": progress.step,
        "total_steps": progress.total_steps,
        "elapsed": _number(progress.elapsed),
        "eta": _number(progress.eta),
        "losses": _numbers(progress.losses),
        "densities": _numbers(progress.densities),
        "validation": _numbers(progress.validation) if progress.validation else None,
        "best_step": progress.best_step,
    }


def _number(value: Any) -> float | None:
    """A finite float, else None: JSON has no NaN."""
    number = None if value is None else float(value)
    return number if number is not None and abs(number) != float("inf") and number == number else None


def _numbers(values: Any) -> dict[str, float | None]:
    return {str(name): _number(value) for name, value in dict(values).items()}


def main(folder: Path) -> int:
    store, run_id = RunStore(folder.parent), folder.name
    signal.signal(signal.SIGTERM, _on_terminate)
    try:
        with _turn(store.root):
            if store.cancel_file(run_id).exists():
                raise _Cancelled
            run_search(store, store.update(run_id, state="running"))
        store.finish(run_id, "done")
    except (_Cancelled, KeyboardInterrupt):
        store.finish(run_id, "cancelled")
        return _CANCELLED
    except DiscoGPError as error:
        store.finish(run_id, "failed", str(error))
        return 1
    except Exception as error:  # whatever it is, the page must be able to tell
        sys.stderr.write(traceback.format_exc())
        text = str(error).strip().splitlines()
        store.finish(run_id, "failed", f"{type(error).__name__}: {text[0] if text else 'no message'}")
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m discogp.runs.worker RUN_FOLDER\n")
        sys.exit(2)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.nice(5)  # the page's own short computations come first
    sys.exit(main(Path(sys.argv[1]).resolve()))
