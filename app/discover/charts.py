"""Plotly figures of a search's progress."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

# Okabe–Ito: told apart by colour-blind eyes, on light and on dark.
BLUE, ORANGE, GREEN, PINK = "#3b8fd0", "#e0902c", "#1fa67a", "#cc79a7"


def curves(events: Sequence[Mapping[str, Any]], height: int = 300) -> go.Figure:
    """Accuracy of circuit and complement (left axis, 0–1) and density (right axis, logarithmic) by step."""
    figure = go.Figure()
    events = [event for event in events if event.get("phase") != "done"]  # it tells of the best step, not the last
    judged = [event for event in events if event.get("validation")]
    for key, name, colour in (
        ("accuracy", "circuit accuracy", BLUE),
        ("complement_accuracy", "complement accuracy", ORANGE),
    ):
        points = _points(judged, "validation", key)
        if points:
            figure.add_scatter(**points, name=name, mode="lines+markers", line={"color": colour, "width": 2})
    for key, name, colour in (("edges", "edges kept", GREEN), ("weights", "weights kept", PINK)):
        points = _points(events, "densities", key)
        if points:
            figure.add_scatter(**points, name=name, mode="lines", yaxis="y2", line={"color": colour, "width": 2})
    figure.update_layout(
        **_layout(height),
        yaxis={"title": "accuracy", "range": [-0.02, 1.04], "tickformat": ".0%", "zeroline": False},
        yaxis2={
            "title": "density",
            "type": "log",
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "range": [_floor(events), 0.05],
            "tickformat": "~%",
            "dtick": 1,
        },
    )
    return figure


def _floor(events: Sequence[Mapping[str, Any]]) -> float:
    """Lower end of the density axis, as a power of ten: 1 %, or the decade below the least density."""
    found = [value for event in events for value in (event.get("densities") or {}).values() if value]
    return min(-2.0, math.floor(math.log10(min(found)))) if found else -2.0


def losses(events: Sequence[Mapping[str, Any]], height: int = 260) -> go.Figure:
    """The terms of the loss by step, unweighted."""
    figure = go.Figure()
    names = sorted({name for event in events for name in event.get("losses") or {}})
    for name, colour in zip(names, (BLUE, ORANGE, GREEN, PINK, "#8c8c8c", "#b8860b"), strict=False):
        points = _points(events, "losses", name)
        if points:
            figure.add_scatter(**points, name=name, mode="lines", line={"color": colour, "width": 1.5})
    figure.update_layout(**_layout(height), yaxis={"title": "loss", "rangemode": "tozero"})
    return figure


def _points(events: Iterable[Mapping[str, Any]], group: str, key: str) -> dict[str, list[float]]:
    found = [(event["step"], (event.get(group) or {}).get(key)) for event in events if "step" in event]
    kept = [(step, value) for step, value in found if value is not None]
    return {"x": [step for step, _ in kept], "y": [value for _, value in kept]} if kept else {}


def _layout(height: int) -> dict[str, Any]:
    return {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": {"title": "step", "zeroline": False},
        "hovermode": "x unified",
        "uirevision": "keep",
    }
