"""What an export says of itself: of which model and task it is, whose figures it shows, and the command for another.

The figures are those of the circuit shown. With edges off, that is the edited circuit: its own figures if whoever asks
for the export has computed them (`Measured`), with the original's beside them under their own name; if not, the export
says that they were not computed.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from discogp.circuits.circuit import Circuit
from discogp.circuits.describe import PART_LABELS, figures_in
from discogp.circuits.measures import measures
from discogp.versions import versions

PARTS = ("full", "circuit", "complement")
NOT_COMPUTED = "not computed"
_MOST = 300


@dataclass(frozen=True)
class Measured:
    """Figures that were computed just now, as `Metrics.to_json` gives them, on a split of the circuit's prompts.

    `edited`: of the circuit without what is off; None where that was not run.
    """

    full: Mapping[str, Any]
    circuit: Mapping[str, Any]
    complement: Mapping[str, Any]
    edited: Mapping[str, Any] | None = None
    split: str = "test"

    def parts(self) -> dict[str, Mapping[str, Any]]:
        return {"full": self.full, "circuit": self.circuit, "complement": self.complement}


def figures(circuit: Circuit, edit: bool, measured: Measured | None) -> tuple[tuple[str, dict[str, float]], ...]:
    """(part of `describe.PART_LABELS`, numbers) of what is shown; of an edit also the original's, under their names."""
    saved = circuit.provenance.get("metrics")
    whole: dict[str, Any] = measured.parts() if measured else dict(saved) if isinstance(saved, Mapping) else {}
    if not edit:
        return figures_in(whole, PARTS)
    shown = {
        "edited": measured.edited if measured else None,
        "full": whole.get("full"),
        "original": whole.get("circuit"),
        "original_complement": whole.get("complement"),
    }
    return figures_in(shown, tuple(shown))


def metrics_of_edit(circuit: Circuit, measured: Measured | None) -> dict[str, Any]:
    """What the provenance of an edited circuit says of figures: its own as `metrics`, or none and why."""
    saved = circuit.provenance.get("metrics")
    original = measured.parts() if measured else saved
    told: dict[str, Any] = {"original": {"n_edges": circuit.n_edges, "metrics": original}}
    if measured is None or measured.edited is None:
        return told | {"metrics_note": f"{NOT_COMPUTED} after the edit; those of the original stand beneath `original`"}
    return told | {"metrics": {**measured.edited, "circuit": measured.edited, "full": measured.full}}


def prompts_behind(circuit: Circuit, measured: Measured | None) -> str:
    """`256 prompts of the test split`, or that nothing was computed."""
    saved = circuit.provenance.get("metrics")
    whole = measured.parts() if measured else saved if isinstance(saved, Mapping) else {}
    part = whole.get("circuit", whole)
    n = part.get("n") if isinstance(part, Mapping) else None
    if not figures_in(whole, PARTS):
        return NOT_COMPUTED
    # What is saved with a circuit has always been of the test split.
    split = measured.split if measured else str(circuit.provenance.get("split", "test"))
    return f"{n if isinstance(n, int) else 'an unknown number of'} prompts of the {split} split"


def facts(circuit: Circuit, off: frozenset[str], measured: Measured | None, again: str) -> dict[str, str]:
    """What to say of an export, by the word for it, in an order for people. `again`: the command that makes it."""
    made = circuit.provenance
    origin = made.get("imported_from")
    words = {
        "model": _with(made.get("model", "unknown"), "weights", made.get("fingerprint")),
        "task": str(made.get("task", "unknown")),
        "figures": prompts_behind(circuit, measured),
        "measures": measures_in_words(figures(circuit, bool(off), measured)),
        "ablation": circuit.ablation,
        "method": str(made.get("method", "unknown")),
    }
    if isinstance(origin, Mapping):
        words["imported from"] = f"{origin.get('file')} ({origin.get('form')}, sha256 {str(origin.get('sha256'))[:12]})"
    if off:
        words["edited"] = edit_in_words(circuit, off, measured)
    elif made.get("switched_off"):
        words["edited"] = "before it was saved, without what its provenance names as switched_off"
    if made.get("created"):
        words["made"] = str(made["created"])[:10]
    words["exported"] = datetime.now(UTC).date().isoformat()
    words["version"] = f"DiscoGP Explorer {versions()['discogp-explorer']}"
    words["again"] = again
    whole = ("again", "measures")
    return {name: " ".join(text.split())[: None if name in whole else _MOST] for name, text in words.items() if text}


def measures_in_words(rows: tuple[tuple[str, dict[str, float]], ...]) -> str:
    """`edited circuit: accuracy 0.934, KL (nats) 4.04; full model: …`, or an empty text."""
    titles = {measure.name: measure.title for measure in measures()}
    parts = (
        f"{PART_LABELS[part]}: {', '.join(f'{titles[name]} {value:z.4g}' for name, value in numbers.items())}"
        for part, numbers in rows
    )
    return "; ".join(parts)


def edit_in_words(circuit: Circuit, off: frozenset[str], measured: Measured | None) -> str:
    """`3 edges off, 35 of the original's 38 left`, and whether the figures are known."""
    left = circuit.without(off).n_edges
    known = "" if measured and measured.edited is not None else f"; figures of what is left: {NOT_COMPUTED}"
    return f"{_count(circuit.n_edges - left)} off, {left:,} of the original's {circuit.n_edges:,} left{known}"


def lines(words: Mapping[str, str]) -> tuple[str, ...]:
    """The facts as two lines beneath a picture: what it is, and the command."""
    elsewhere = ("again", "version", "measures")
    about = " · ".join(f"{name} {text}" for name, text in words.items() if name not in elsewhere)
    return f"{about} · {words['version']}", f"again: {words['again']}"


def command(
    source: str | None,
    format: str,
    ending: str,
    off: frozenset[str],
    *,
    max_edges: int | None,
    theme: str,
    scored: bool,
    widths: str,
) -> str:
    """The command line that makes the same export of the circuit at `source`."""
    options = ["--format", format, "--out", f"circuit.{ending}"]
    options += [] if max_edges is None else ["--max-edges", str(max_edges)]
    options += [] if theme == "light" else ["--theme", theme]
    options += ["--off", ",".join(sorted(off))] if off else []
    options += ["--score"] if scored else []
    options += [] if widths == "score" else ["--widths", widths]
    return shlex.join(["python", "-m", "discogp", "export", source or "CIRCUIT", *options])


def _count(n: int) -> str:
    return f"{n:,} edge{'' if n == 1 else 's'}"


def _with(text: Any, word: str, more: Any) -> str:
    return f"{text} ({word} {more})" if more else str(text)
