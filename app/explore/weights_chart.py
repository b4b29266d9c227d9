"""Where a circuit keeps its weights, as a heat map of layer and component."""

from __future__ import annotations

import math

import plotly.graph_objects as go

from discogp.circuits.sparsity import Sparsity

_MOST_WRITTEN = 48  # layers; beyond, a cell has no room for its number


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
