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
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock

from discogp.errors import DiscoGPError
from discogp.runs.places import places
from discogp.runs.store import Run, RunStore

_CANCELLED = 130


class _Cancelled(BaseException):
    """Raised by the signal handler; a BaseException, so that no `except Exception` on the way swallows it."""


def _on_terminate(_signal: int, _frame: FrameType | None) -> None:
    raise _Cancelled


def work(store: RunStore, run: Run) -> None:
    """Search, evaluate, save. Imports torch, so call it only in a process meant for computing."""
    from discogp.runs.search import Saved, Stage, run_search

    began = time.monotonic()

    def note(phase: str, message: str, **more: Any) -> None:
        elapsed = round(time.monotonic() - began, 3)
        store.append_event(run.id, {"phase": phase, "message": message, "elapsed": elapsed, **more})

    goals, cancel_file = _goals(store, run.id), store.cancel_file(run.id)
    provenance = {"run": run.id, "created": run.created}
    stage = None
    for stage in run_search(run.settings, *goals, resume=None, cancelled=cancel_file.exists, provenance=provenance):
        if isinstance(stage, Stage):
            if stage.after_step is not None:
                store.forget_events_after(run.id, stage.after_step)
            note(stage.name, stage.message, **({} if stage.ready is None else _of_prompts(stage.ready.data)))
        elif isinstance(stage, Saved):
            figures = stage.evaluation.to_json()
            shown = {key: figures[key] for key in ("accuracy", "complement_accuracy", "top1", "kl")}
            note("evaluate", "Saved", test=shown)
        else:
            store.append_event(run.id, progress_event(stage))
    if cancel_file.exists():
        raise _Cancelled
    if not isinstance(stage, Saved):
        raise RuntimeError("the search ended without a circuit")


def _goals(store: RunStore, run_id: str) -> tuple[Path, Path, Path]:
    """The circuit, that of the last step, the checkpoint."""
    folder = store.circuit_folder(run_id)
    return folder, folder.with_name("circuit-last"), store.checkpoint(run_id)


def _of_prompts(data: Any) -> dict[str, Any]:
    counts = {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}
    figures = {**counts, "full_accuracy": data.full_accuracy, "kept_share": data.kept_share}
    return {"data": figures, "notes": list(data.notes)}


def progress_event(progress: Any) -> dict[str, Any]:
    """A `Progress` as one line of JSON: every field but the circuit, which is saved apart."""
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
        # One search at a time on this machine: two on the same cores would only be slower. The system frees the lock
        # when its holder dies, however it dies.
        with FileLock(store.root / ".turn"):
            if store.cancel_file(run_id).exists():
                raise _Cancelled
            run = store.read(run_id)
            if not run.live:  # another worker of the same run has ended it meanwhile
                return 0
            with places(*_goals(store, run_id)):
                work(store, store.update(run_id, state="running"))
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
