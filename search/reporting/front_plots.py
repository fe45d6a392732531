"""The front as interactive figures: every trial, the front, the picks, the baseline, FreeU off at other settings.

A point is what was measured on the search's own prompts; the front is the study's judgement (by posterior mean), so a
lucky point need not be on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import combinations
from typing import TYPE_CHECKING, Any

from search.reporting import label_placement
from search.study import rival

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from search.storage import TrialRecord, Value

# Okabe and Ito's colours, which colour-blind readers can tell apart; the symbol says the same again.
KINDS = {
    "trial": {"color": "#999999", "symbol": "circle", "size": 7},
    "front": {"color": "#0072B2", "symbol": "circle", "size": 10},
    "baseline": {"color": "#000000", "symbol": "cross", "size": 12},
    "tuned baseline": {"color": "#CC79A7", "symbol": "x", "size": 8},
    "published": {"color": "#D55E00", "symbol": "diamond", "size": 11},
}


def front_figures(records: Sequence[TrialRecord], result: Mapping[str, Any]) -> list[go.Figure]:
    """The objectives pair by pair, and all at once where there are three; a point's customdata is its trial's number.

    result: as result.json holds it; its "objectives" maps name to "up" or "down". Failed trials are left out.
    """
    objectives: dict[str, str] = dict(result["objectives"])
    done = [record for record in records if set(objectives) <= set(record.values)]
    groups = _groups(done, result)
    names = list(objectives)
    figures = [_pair(x, y, objectives, groups, result) for x, y in combinations(names, 2)]
    if len(names) == 1:
        figures = [_history(names[0], objectives, groups, result)]
    if len(names) == 3:
        figures.append(_space(names, objectives, groups, result))
    return figures


def _groups(records: Sequence[TrialRecord], result: Mapping[str, Any]) -> dict[str, list[TrialRecord]]:
    front = {row["number"] for row in result.get("front", [])}
    groups: dict[str, list[TrialRecord]] = {kind: [] for kind in KINDS}
    for record in records:
        kind = record.origin if record.origin in KINDS else "front" if record.number in front else "trial"
        groups["tuned baseline" if record.candidate.off and not record.candidate.baseline else kind].append(record)
    return {kind: members for kind, members in groups.items() if members}


def _hover(record: TrialRecord) -> str:
    f = record.factors
    values = "<br>".join(f"{escape(name)} {v.value:.4g}{_error(v)}" for name, v in record.values.items())
    factors = f"b1 {f.b1:.3f} b2 {f.b2:.3f} s1 {f.s1:.3f} s2 {f.s2:.3f}"
    if settings := rival.named(record.sampling):
        factors = f"{'FreeU off' if record.candidate.off else factors}, {escape(settings)}"
    return f"#{record.number} {escape(record.origin)}<br>{factors}<br>{values}"


def _label(number: int, result: Mapping[str, Any]) -> str:
    """What a trial was picked for, or the settings at which it is a finalist's rival."""
    picks = result.get("picks", [])
    said = [pick["pick"] for pick in picks if pick["number"] == number]
    rivals = [each["named"] for pick in picks if (each := rival.of_pick(pick)) is not None and each["number"] == number]
    return ", ".join(map(escape, dict.fromkeys([*said, *rivals])))


def _axis(name: str, objectives: Mapping[str, str]) -> str:
    return f"{escape(name)} ({'higher' if objectives[name] == 'up' else 'lower'} is better)"


def _pair(
    x: str,
    y: str,
    objectives: Mapping[str, str],
    groups: Mapping[str, Sequence[TrialRecord]],
    result: Mapping[str, Any],
) -> go.Figure:
    import plotly.graph_objects as go

    kinds = {record.number: (kind, record) for kind, members in groups.items() for record in members}
    texts = {k: _label(k, result) for k in kinds}
    # What the report's plots begin with.
    seen = {k: record for k, (kind, record) in kinds.items() if kind in ("front", "baseline") or texts[k]}
    beside = label_placement.sides(
        {k: (record.values[x].value, record.values[y].value) for k, record in seen.items()}, texts
    )
    figure = go.Figure()
    for kind, members in groups.items():
        figure.add_scatter(
            x=[record.values[x].value for record in members],
            y=[record.values[y].value for record in members],
            error_x=_errors(x, members),
            error_y=_errors(y, members),
            name=kind,
            mode="markers+text",
            marker=KINDS[kind],
            customdata=[record.number for record in members],
            text=[_label(record.number, result) for record in members],
            textposition=[beside.get(record.number, "top right") for record in members],
            cliponaxis=False,
            hovertext=[_hover(record) for record in members],
            hoverinfo="text",
        )
    figure.update_layout(
        title=f"{escape(x)} and {escape(y)}",
        xaxis_title=_axis(x, objectives),
        yaxis_title=_axis(y, objectives),
        height=520,
    )
    return figure


def _errors(name: str, members: Sequence[TrialRecord]) -> dict[str, Any]:
    # Plotly draws nan, as of the baseline, as no bar.
    return {"array": [record.values[name].paired for record in members], "thickness": 0.7, "width": 0}


def _error(value: Value) -> str:
    return f" ± {value.paired:.2g}" if math.isfinite(value.paired) else ""


def _history(
    name: str,
    objectives: Mapping[str, str],
    groups: Mapping[str, Sequence[TrialRecord]],
    result: Mapping[str, Any],
) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    for kind, members in groups.items():
        figure.add_scatter(
            x=[record.number for record in members],
            y=[record.values[name].value for record in members],
            error_y=_errors(name, members),
            name=kind,
            mode="markers+text",
            marker=KINDS[kind],
            customdata=[record.number for record in members],
            text=[_label(record.number, result) for record in members],
            textposition="top center",
            hovertext=[_hover(record) for record in members],
            hoverinfo="text",
        )
    figure.update_layout(
        title=escape(name),
        xaxis_title="trial",
        yaxis_title=_axis(name, objectives),
        height=520,
    )
    return figure


def _space(
    names: Sequence[str],
    objectives: Mapping[str, str],
    groups: Mapping[str, Sequence[TrialRecord]],
    result: Mapping[str, Any],
) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    for kind, members in groups.items():
        x, y, z = ([record.values[name].value for record in members] for name in names)
        marker = KINDS[kind] | {"size": 5}  # a 3-D marker's size is doubled on the screen
        figure.add_scatter3d(
            x=x,
            y=y,
            z=z,
            name=kind,
            mode="markers+text",
            marker=marker,
            customdata=[record.number for record in members],
            text=[_label(record.number, result) for record in members],
            hovertext=[_hover(record) for record in members],
            hoverinfo="text",
        )
    titles = {name: f"{escape(name)} {'↑' if objectives[name] == 'up' else '↓'}" for name in names}  # short of room
    axes = {f"{axis}axis_title": titles[name] for axis, name in zip("xyz", names, strict=True)}
    figure.update_layout(
        title="All three",
        scene=axes | {"camera": {"eye": {"x": 1.6, "y": 1.6, "z": 0.9}}},
        height=720,
    )
    return figure
