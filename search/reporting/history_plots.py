"""How a search went, as figures: hypervolume over trials, which factors mattered, where the time went."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from search.optimizer.pareto_front import hypervolume
from search.storage import TrialRecord

if TYPE_CHECKING:
    import plotly.graph_objects as go

FEWEST = 10
"""Trials below which importances say nothing."""
BEST = 0.25
"""Share of the trials whose factors importances tell from all others'."""
EXPLAINED = {
    "Hypervolume": "How much of the box between the worst and the best scores of the first 10 trials the trials so far "
    "dominate, without those out of bounds; scores beyond the box bring it above 1. A flat end means that more trials "
    "would hardly have helped.",
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


def growth(
    records: Sequence[TrialRecord], directions: Mapping[str, str], box: Sequence[TrialRecord] | None = None
) -> np.ndarray:
    """(n,) the hypervolume: how much of a box the first k trials dominate.

    The box spans the worst and the best of each objective among `box`: the first 10 trials unless told, so that no
    later one changes what was said. Trials better than all in the box bring it above 1.
    """
    table, spanned = _upwards(records, directions), _upwards(records[:FEWEST] if box is None else box, directions)
    low, span = spanned.min(0), np.ptp(spanned, axis=0)
    scaled = np.where(span > 0, (table - low) / np.where(span > 0, span, 1), 1.0)
    shares, front, share = np.zeros(len(scaled)), scaled[:0], 0.0
    for k, row in enumerate(scaled):
        if not (front >= row).all(1).any():  # else the front stays as it is, and so does its share
            front = np.vstack([front[~(row >= front).all(1)], row])
            share = hypervolume(front, np.zeros(len(directions)))
        shares[k] = share
    return shares


def within_bounds(done: Sequence[TrialRecord], directions: Mapping[str, str]) -> tuple[list[TrialRecord], np.ndarray]:
    """Of the complete trials those within the guardrails, and the hypervolume after each (the box: the first 10)."""
    kept = [record for record in done if record.feasible]
    return kept, growth(kept, directions, done[:FEWEST]) if kept else np.zeros(0)


def _upwards(records: Sequence[TrialRecord], directions: Mapping[str, str]) -> np.ndarray:
    table = np.array([[record.values[name].value for name in directions] for record in records])
    return table * [1 if way == "up" else -1 for way in directions.values()]


def grown(records: Sequence[TrialRecord], directions: Mapping[str, str], number: int) -> dict[int, float]:
    """What trial `number` adds to the history of the hypervolume, as `history` has it."""
    return history(records, directions).get(number, {})


def history(records: Sequence[TrialRecord], directions: Mapping[str, str]) -> dict[int, dict[int, float]]:
    """Trial → what it adds to the history of the hypervolume: trial → share of the box of the first 10 trials, so that
    no later one changes what was said.

    Nothing before the tenth complete trial; that one brings those before it too. records: in their order.
    """
    done = [record for record in records if record.complete]
    if len(done) < FEWEST:
        return {}
    shares = iter(within_bounds(done, directions)[1])
    found, last = {}, 0.0
    for record in done:
        last = float(next(shares)) if record.feasible else last
        found[record.number] = last
    first, tenth = done[:FEWEST], done[FEWEST - 1].number
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


def of_factors(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Without the tuned baselines: one with FreeU off at another guidance says nothing of factors."""
    return [record for record in records if record.candidate.baseline or not record.candidate.off]


def numbers(record: TrialRecord) -> dict[str, float]:
    """The factors, and those controls that are one number."""
    given = {**vars(record.factors), **vars(record.factors.controls)}
    return {name: value for name, value in given.items() if type(value) in (int, float)}


def _growth(records: Sequence[TrialRecord], directions: Mapping[str, str]) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    kept, shares = within_bounds(records, directions)
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
