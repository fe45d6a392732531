"""How a search went, as figures: hypervolume over trials, which factors mattered, where the time went."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from search.optimizer.hypervolume_box import FIRST, Box, upwards
from search.optimizer.pareto_front import candidates, hypervolume, of_factors
from search.storage import TrialRecord

if TYPE_CHECKING:
    import plotly.graph_objects as go

FEWEST = 10
"""Trials below which importances say nothing."""
BEST = 0.25
"""Share of the trials whose factors importances tell from all others'."""
EXPLAINED = {
    "Hypervolume": "How much of the box between the worst and the best scores of the first 10 candidates all so far "
    "dominate, without those out of bounds; scores beyond the box bring it above 1. A flat end means that more trials "
    "would hardly have helped. Tuned baselines (FreeU off at other guidance scales) are no candidates.",
    "Importances": "For each objective, how much each factor tells the best quarter of the trials from all "
    "(PED-ANOVA). From few trials it is a hint.",
    "Timeline": "How long each trial took. The first one includes what is done once for the study.",
}
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")  # Okabe and Ito's


def figures(records: Sequence[TrialRecord], directions: Mapping[str, str]) -> dict[str, go.Figure]:
    """Title → figure. Importances are left out below 10 trials."""
    done = [record for record in records if record.complete]
    found = {"Hypervolume": _growth(done, directions)}
    shares = importances(done, directions)
    if shares:
        found["Importances"] = _bars(shares)
    return found | {"Timeline": _seconds(records)}


def growth(done: Sequence[TrialRecord], directions: Mapping[str, str]) -> tuple[list[TrialRecord], np.ndarray]:
    """The candidates among the complete trials, and (n,) how much of the box the first k of them dominate.

    Candidates better than all in the box bring it above 1.
    """
    kept = candidates(done)
    if not kept:
        return [], np.zeros(0)
    scaled = Box.of(done, directions).scaled(upwards(kept, directions))
    shares, front, share = np.zeros(len(scaled)), scaled[:0], 0.0
    for k, row in enumerate(scaled):
        if not (front >= row).all(1).any():  # else the front stays as it is, and so does its share
            front = np.vstack([front[~(row >= front).all(1)], row])
            share = hypervolume(front, np.zeros(len(directions)))
        shares[k] = share
    return kept, shares


def history(records: Sequence[TrialRecord], directions: Mapping[str, str]) -> dict[int, dict[int, float]]:
    """Trial → what it adds to the history of the hypervolume: trial → share of the box.

    Nothing before the tenth complete trial of factors; that one brings those before it too. records: in their order.
    """
    done = of_factors([record for record in records if record.complete])
    if len(done) < FIRST:
        return {}
    kept, shares = growth(done, directions)
    after = {record.number: float(share) for record, share in zip(kept, shares, strict=True)}
    found, last = {}, 0.0
    for record in done:
        last = after.get(record.number, last)
        found[record.number] = last
    first, tenth = done[:FIRST], done[FIRST - 1].number
    said = {number: {number: value} for number, value in found.items() if number > tenth}
    return said | {tenth: {record.number: found[record.number] for record in first}}


def importances(records: Sequence[TrialRecord], directions: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Objective → factor → its share of what tells the best quarter of the trials from the rest (PED-ANOVA, Watanabe et
    al., arXiv 2304.10255). Factors that never varied are left out; nothing below 10 trials."""
    import optuna

    records = of_factors(records)
    settings = [numbers(record) for record in records]
    names = [name for name in (settings[0] if settings else {}) if len({each.get(name) for each in settings}) > 1]
    if len(records) < FEWEST or not names:
        return {}
    logging.getLogger("optuna").setLevel(logging.WARNING)
    ranges = {name: (min(each[name] for each in settings), max(each[name] for each in settings)) for name in names}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST)
    found = {}
    for objective, way in directions.items():
        study = optuna.create_study(direction="maximize" if way == "up" else "minimize")
        for record, each in zip(records, settings, strict=True):
            study.add_trial(
                optuna.create_trial(
                    value=record.values[objective].value,
                    params={name: each[name] for name in names},
                    distributions={name: optuna.distributions.FloatDistribution(*ranges[name]) for name in names},
                )
            )
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
        found[objective] = {name: float(shares[name]) for name in names}
    return found


def numbers(record: TrialRecord) -> dict[str, float]:
    """The factors, and those controls that are one number."""
    given = {**vars(record.factors), **vars(record.factors.controls)}
    return {name: value for name, value in given.items() if type(value) in (int, float)}


def _growth(records: Sequence[TrialRecord], directions: Mapping[str, str]) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    kept, shares = growth(records, directions)
    numbers = [record.number for record in kept]
    figure.add_scatter(
        x=numbers,
        y=shares,
        customdata=numbers,
        mode="lines+markers",
        line={"shape": "hv", "color": COLOURS[0]},
        hovertemplate="trial %{x}: %{y:.3f}<extra></extra>",
    )
    return _laid_out(figure, "Hypervolume", "trial", "hypervolume")


def _bars(shares: Mapping[str, Mapping[str, float]]) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    for (objective, found), colour in zip(shares.items(), cycle(COLOURS), strict=False):
        figure.add_bar(x=list(found), y=list(found.values()), name=objective, marker={"color": colour})
    return _laid_out(figure, "Importances", "factor", "share")


def _seconds(records: Sequence[TrialRecord]) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    numbers = [record.number for record in records]
    parts: dict[str, list[float]] = {
        "generating": [record.seconds.get("generate", 0.0) for record in records],
        "scoring": [record.seconds.get("score", 0.0) for record in records],
        "failed": [0.0 if record.complete else record.seconds.get("total", 0.0) for record in records],
    }
    for (name, seconds), colour in zip(parts.items(), COLOURS, strict=False):
        if any(seconds):
            figure.add_bar(x=numbers, y=seconds, customdata=numbers, name=name, marker={"color": colour})
    figure.update_layout(barmode="stack")
    return _laid_out(figure, "Timeline", "trial", "seconds")


def _laid_out(figure: go.Figure, title: str, x: str, y: str) -> go.Figure:
    return figure.update_layout(title=title, xaxis_title=x, yaxis_title=y, showlegend=len(figure.data) > 1)
