"""Bradley and Terry's strengths (Biometrika 39, 1952) of finalists and what they are voted against, from all votes.

A tie is half a win and half a loss. Each pair that was compared gets one tie more, so that a candidate which always
wins has a finite strength. The intervals are by prompts: the sandwich estimator over their scores, with Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from search.voting.ballots import Vote

STEPS = 50
FEWEST = 6
"""Prompts for an interval."""


def strengths(votes: Sequence[Vote], labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each candidate, the strongest first: name, label, strength (log-odds against the first comparator),
    low and high (95 %; None for the comparator itself and below 6 prompts), and rate: the win rate that it stands for.

    labels: of finalists by name; others are called by their names.
    """
    from scipy.stats import t as student

    against = list(dict.fromkeys(vote.against for vote in votes))
    base, names = against[0], [*dict.fromkeys(vote.finalist for vote in votes), *against[1:]]
    pairs = list(dict.fromkeys((vote.finalist, vote.against) for vote in votes))
    x = np.zeros((len(votes) + len(pairs), len(names)))
    for row, (a, b) in enumerate([*((vote.finalist, vote.against) for vote in votes), *pairs]):
        for name, sign in ((a, 1.0), (b, -1.0)):
            if name != base:
                x[row, names.index(name)] = sign
    y = np.array([*(vote.score for vote in votes), *[0.5] * len(pairs)])
    theta = np.zeros(len(names))
    for _ in range(STEPS):  # Newton's, of a concave likelihood
        p = 1 / (1 + np.exp(-x @ theta))
        information = (x * (p * (1 - p))[:, None]).T @ x
        step = np.linalg.pinv(information) @ (x.T @ (y - p))
        theta += step.clip(-1, 1)
        if np.abs(step).max() < 1e-10:
            break
    prompts = [vote.prompt for vote in votes]
    places = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    scores, k = np.zeros((len(places), len(names))), len(places)
    np.add.at(scores, [places[prompt] for prompt in prompts], (x * (y - p)[:, None])[: len(votes)])
    inverse = np.linalg.pinv(information)
    covariance = inverse @ (scores.T @ scores) @ inverse * (k / (k - 1) if k > 1 else math.nan)
    reach = (
        float(student.ppf(0.975, k - 1)) * np.sqrt(np.diag(covariance)) if k >= FEWEST else np.full(len(names), np.nan)
    )
    rows = [_row(base, base, 0.0, math.nan)]
    rows += [_row(name, labels.get(name, name), float(theta[i]), float(reach[i])) for i, name in enumerate(names)]
    return sorted(rows, key=lambda row: -row["strength"])


def _row(name: str, label: str, strength: float, reach: float) -> dict[str, Any]:
    ends = (strength - reach, strength + reach) if math.isfinite(reach) else (None, None)
    rate = 1 / (1 + math.exp(-strength))
    return {"name": name, "label": label, "strength": strength, "low": ends[0], "high": ends[1], "rate": rate}
