"""Plotly figures: a search's progress, and where a circuit keeps its weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from discogp.sparsity import Sparsity

# Okabe–Ito: told apart by colour-blind eyes, on light and on dark.
BLUE, ORANGE, GREEN, PINK = "#3b8fd0", "#e0902c", "#1fa67a", "#cc79a7"
_MOST_WRITTEN = 48  # layers; beyond, a cell has no room for its number


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


def kept_weights(found: Sparsity) -> go.Figure:
    """Heat map of layer × component: the share of weights kept, on a logarithmic colour scale.

    Where nothing is kept the cell has the colour of the lower end; what was not searched is left blank.
    """
    layers, components = found.layers, found.components
    rows = [[found.counts.get((layer, name)) for name in components] for layer in layers]
    least = min((count.share for row in rows for count in row if count and count.kept), default=0.1)
    lowest = min(math.floor(math.log10(least)), -1)
    written = [["" if count is None else _share(count.share) for count in row] for row in rows]
    ticks = list(range(lowest, 1))
    figure = go.Figure(
        go.Heatmap(
            x=components,
            y=layers,
            z=[[None if c is None else math.log10(max(c.share, 10.0**lowest)) for c in row] for row in rows],
            text=written,
            texttemplate="%{text}" if len(layers) <= _MOST_WRITTEN else None,
            customdata=[["" if c is None else f"{c.kept:,} of {c.total:,}" for c in row] for row in rows],
            hovertemplate="layer %{y}, %{x}: %{customdata} (%{text})<extra></extra>",
            hoverongaps=False,
            zmin=lowest,
            zmax=0,
            colorscale="Cividis",  # told apart by colour-blind eyes, on light and on dark
            colorbar={"tickvals": ticks, "ticktext": [_share(10.0**tick) for tick in ticks], "thickness": 12},
            xgap=2,
            ygap=2,
        )
    )
    figure.update_layout(
        height=110 + 26 * len(layers),
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        xaxis={"showgrid": False, "side": "top"},
        yaxis={"title": "layer", "showgrid": False, "zeroline": False, "dtick": 1 if len(layers) <= 40 else None},
    )
    return figure


def _share(value: float) -> str:
    return f"{value * 100:.3g} %"
