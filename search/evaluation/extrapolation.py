"""Estimates a candidate's scores on all prompts from those on the first ones, with standard errors.

Prompts differ far more than factors do, so all estimates use the difference to the baseline under the same noise:

- a mean over images is the baseline's mean plus the mean difference;
- a distance of sets can't be compared between sets of other prompts or another size. The features of images that were
  not made are taken to be the baseline's, moved by the mean difference, so that a distance is always one of all
  prompts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def mean(scores: np.ndarray, base: np.ndarray | None) -> tuple[float, float, float]:
    """(value, its standard error, that of the difference to the baseline).

    scores: (n,). base: the baseline's on all prompts, (N,) with N at least n, the same ones first; None where unknown.
    """
    n = len(scores)
    error = _error(scores)
    if base is None:
        return float(scores.mean()), error, math.nan
    difference = scores - base[:n]
    paired = _error(difference)
    if n == len(base):
        return float(scores.mean()), error, paired
    return float(base.mean() + difference.mean()), paired, paired


def distance(
    features: np.ndarray, base: np.ndarray | None, n: int, whole: int, metric: Any
) -> tuple[float, float, float]:
    """As `mean`, of a metric of sets.

    features: (n·frames, d). base: the baseline's, (whole·frames, d), or None. metric: its `distance`, and the least
    number of images that it gives a standard error for.
    """
    from metrics.jackknife import jackknife

    if base is None:
        return float(metric.distance(features)), _own_error(features, n, metric), math.nan

    def of(rows: np.ndarray) -> float:
        return float(metric.distance(completed(features, base, rows[:, 0], n, whole)))

    rows = np.arange(n)[:, None]
    paired = jackknife(rows, of)
    if n == whole:
        return float(metric.distance(features)), _own_error(features, n, metric), paired
    return of(rows), paired, paired


def completed(features: np.ndarray, base: np.ndarray, rows: np.ndarray, n: int, whole: int) -> np.ndarray:
    """Features of all prompts, (whole·frames, d), from those of some.

    features: (n·frames, d), of the first n prompts, of which `rows` are used. base: the baseline's, of all.
    """
    found, zero = features.reshape(n, -1), base.reshape(whole, -1)
    moved = zero + (found[rows] - zero[rows]).mean(0)
    moved[rows] = found[rows]
    return moved.reshape(base.shape)


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def _own_error(features: np.ndarray, n: int, metric: Any) -> float:
    from metrics.jackknife import jackknife

    return jackknife(features, metric.distance, len(features) // n) if n >= metric.min_n else math.nan
