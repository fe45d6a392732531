"""Which factors make which scores, as figures: every trial as a line through its factors and scores, and slices through
what the model expects.

A slice lays b1 beside s1 (which act on one stage), and b2 beside s2; what else there is stays as in one candidate. It
is a heatmap: plotly's contours beside markers of a far larger span, in one scale of colours, hang the page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from search.optimizer.gaussian_process import GaussianProcess, pooled
from search.optimizer.pareto_front import FEWEST, MOST, of_factors, paired_spreads, telling
from search.reporting.history_plots import COLOURS, growth, numbers

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from search.storage import TrialRecord

PLANES = (("b1", "s1"), ("b2", "s2"))
SIDE = 25  # points along each axis of a slice


def figures(
    records: Sequence[TrialRecord], directions: Mapping[str, str], through: Mapping[str, float]
) -> dict[str, go.Figure]:
    """Title → figure. through: the factors of the candidate that slices go through. Complete trials count, and below 6
    there are no slices."""
    done = [record for record in records if record.complete and set(directions) <= set(record.values)]
    found = {"Hypervolume by images": _by_images(done, directions)} if done else {}
    tried = of_factors(done)
    if len(tried) > 1:
        found["Parallel coordinates"] = _parallel(tried, directions)
    for name in directions:
        figure = _slices(tried, name, paired_spreads(done, [name]).get(name, {}), through)
        if figure is not None:
            found[f"Slices of {name}"] = figure
    return found


def _by_images(records: Sequence[TrialRecord], directions: Mapping[str, str]) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    kept, shares = growth(records, directions)
    drawn = dict(zip((record.number for record in records), np.cumsum([each.images for each in records]), strict=True))
    figure.add_scatter(
        x=[drawn[record.number] for record in kept],
        y=shares,
        customdata=[record.number for record in kept],
        mode="lines+markers",
        line={"shape": "hv", "color": COLOURS[0]},
        hovertemplate="trial %{customdata}, after %{x} images: %{y:.3f}<extra></extra>",
    )
    return figure.update_layout(xaxis_title="images of the trials so far", yaxis_title="hypervolume")


def _parallel(records: Sequence[TrialRecord], directions: Mapping[str, str]) -> go.Figure:
    import plotly.graph_objects as go

    settings = [numbers(record) for record in records]
    names = [name for name in settings[0] if len({each.get(name) for each in settings}) > 1]
    axes = [{"label": name, "values": [each[name] for each in settings]} for name in names]
    for name, way in directions.items():
        values = [record.values[name].value for record in records]
        span = [min(values), max(values)]
        axes.append(
            {"label": escape(name), "values": values, "range": span if way == "up" else span[::-1]}
        )  # better is above
    first, way = next(iter(directions.items()))
    line = {
        "color": [record.values[first].value for record in records],
        "colorscale": "Viridis",
        "reversescale": way == "down",
        "showscale": True,
        "colorbar": {"title": {"text": escape(first)}},
    }
    return go.Figure(go.Parcoords(line=line, dimensions=axes))


def _slices(
    records: Sequence[TrialRecord], objective: str, errors: Mapping[int, float], through: Mapping[str, float]
) -> go.Figure | None:
    """Two planes of what a Gaussian process expects of an objective; None where too few trials or factors vary."""
    from plotly.subplots import make_subplots

    settings = [numbers(record) for record in records]
    y = np.array([record.values[objective].value for record in records])
    names = [name for name in (settings[0] if settings else {}) if len({each.get(name) for each in settings}) > 1]
    planes = [plane for plane in PLANES if set(plane) <= set(names)]
    if len(records) < FEWEST or not planes or np.ptp(y) == 0:
        return None
    table = np.array([[each[name] for name in names] for each in settings])
    low, span = table.min(0), np.ptp(table, axis=0)
    spread = np.array([errors.get(record.number, math.nan) for record in records])
    up = y if records[0].values[objective].direction == "up" else -y
    fitted = telling(up[:, None], MOST)  # as the front is
    places, images = (table[fitted] - low) / span, np.array([float(record.images) for record in records])[fitted]
    process = GaussianProcess(places, y[fitted], pooled(places, spread[fitted], images))
    centre = (np.array([through[name] for name in names]) - low) / span
    share = np.linspace(0, 1, SIDE)
    figure = make_subplots(1, len(planes), horizontal_spacing=0.12)
    ends: list[float] = []  # of the colours: what is expected; a trial beyond has the colour of the nearer end
    for column, plane in enumerate(planes, start=1):
        x, s = (names.index(name) for name in plane)
        points = np.tile(centre, (SIDE * SIDE, 1))
        points[:, x], points[:, s] = np.tile(share, SIDE), np.repeat(share, SIDE)
        expected = process.predict(points)[0].reshape(SIDE, SIDE)
        ends += [float(expected.min()), float(expected.max())]
        place = {"row": 1, "col": column}
        figure.add_heatmap(
            x=low[x] + span[x] * share,
            y=low[s] + span[s] * share,
            z=np.round(expected, 5),
            coloraxis="coloraxis",
            zsmooth="best",
            hovertemplate=f"{plane[0]} %{{x:.2f}}, {plane[1]} %{{y:.2f}}: %{{z:.4g}}<extra></extra>",
            **place,
        )
        figure.add_scatter(
            x=table[:, x],
            y=table[:, s],
            mode="markers",
            customdata=[record.number for record in records],
            marker={"color": y, "coloraxis": "coloraxis", "size": 9, "line": {"color": "#ffffff", "width": 1.5}},
            hovertemplate="trial %{customdata}: %{marker.color:.4g}<extra></extra>",
            showlegend=False,
            **place,
        )
        figure.update_xaxes(title=plane[0], **place)
        figure.update_yaxes(title=plane[1], **place)
    colours = {"colorscale": "Viridis", "cmin": min(ends), "cmax": max(ends)}
    return figure.update_layout(
        coloraxis={**colours, "colorbar": {"title": {"text": escape(objective)}}}, showlegend=False
    )
