"""Statistics of paired comparisons: is a better than b, by how much, and could it be luck?

The datum is the difference under the same prompt and seed. Several images of one prompt are not independent, so prompts
are what changes sign together (ignoring that gave 43 % false positives in a simulation; ours is
tests/metrics/test_calibration.py).

One distribution gives both the p-value and the interval, so they never disagree. Under "the mean is m" the clusters'
differences to m are as likely negative; flipping the signs of a subset of them makes the total at least as large
exactly where that subset's own mean lies beyond m. So the means of random subsets are the ends of all intervals
(Hartigan, JASA 64, 1969), and the share of them beyond 0 is the sign-flip test's p.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

FLIPS = 4095
LEVEL = 0.05
POWER = 0.8
EXACT_BELOW = 12
"""With fewer clusters all sign flips are counted instead of drawn."""
GROUPS = 64
"""Of prompts, at most, that a distance of sets is measured without and with twice."""
AT_ONCE = 2_000_000
"""Numbers of the matrix of subsets that are held at a time: 16 MB."""

Distances = Callable[[np.ndarray, Sequence[np.ndarray]], np.ndarray]
"""Of some of the rows of features (m, d), for each of k choices of rows: (k,)."""


@dataclass(frozen=True)
class Paired:
    """A comparison of n pairs.

    Attributes:
        mean: mean of a - b; of sets the difference of their distances.
        low, high: 95 % interval of the mean. 0 lies outside of it exactly where p is below 0.05. NaN with fewer than 6
            clusters, whose sign flips are too few for one.
        p: two-sided sign-flip p-value of "no difference".
        win_rate: share of pairs with a > b, ties counting half; NaN for a comparison of sets.
        error: standard error of the mean, between clusters; NaN for one cluster.
        clusters: how many there are: prompts, or groups of them.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float
    win_rate: float
    error: float = math.nan
    clusters: int = 0


def paired(
    a: np.ndarray, b: np.ndarray, clusters: Sequence[Hashable], rng: np.random.Generator, flips: int = FLIPS
) -> Paired:
    """Compares values (n,) of two treatments of the same n inputs; `clusters` names the prompt of each.

    flips: drawn for 12 clusters and more; the smallest p is 2 / (flips + 1).
    """
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    if difference.ndim != 1 or len(difference) != len(clusters) or not len(difference):
        raise ValueError(f"{np.shape(a)} and {np.shape(b)} values and {len(clusters)} clusters: give n of each, n > 0")
    members = _members(clusters)
    sums = np.array([difference[rows].sum() for rows in members])
    counts = np.array([len(rows) for rows in members], np.float64)
    wins = float((np.sign(difference) + 1).mean() / 2)
    return _inverted(len(difference), sums, counts, wins, rng, flips)


def paired_set(
    a: np.ndarray,
    b: np.ndarray,
    distance: Callable[[np.ndarray], float],
    clusters: Sequence[Hashable],
    rng: np.random.Generator,
    distances: Distances | None = None,
    flips: int = FLIPS,
) -> Paired:
    """Compares a distance of two sets of features (n, d) whose rows are pairs.

    Each group of prompts gets what it contributes to the difference of the two distances (`contributions`), and those
    are compared as per-image differences are. With more than 64 prompts some share a group.
    distances: the same of many sets at once, where there is a faster way than one by one.
    """
    if len(a) != len(b) or len(a) != len(clusters):
        raise ValueError(f"{len(a)} and {len(b)} rows and {len(clusters)} clusters: give n of each")
    members = _members(clusters)
    k = min(GROUPS, len(members))
    groups = [np.sort(np.concatenate(members[j::k])) for j in range(k)]
    counts = np.array([len(rows) for rows in groups], np.float64)
    of_a, of_b = (contributions(features, distance, groups, distances) for features in (a, b))
    observed = distance(a) - distance(b)
    return _inverted(len(a), of_a - of_b + observed * counts, counts, math.nan, rng, flips)


def contributions(
    features: np.ndarray,
    distance: Callable[[np.ndarray], float],
    groups: Sequence[np.ndarray],
    distances: Distances | None = None,
) -> np.ndarray:
    """What each group of rows adds to n times a distance of features (n, d), less its share of all: (k,), sum 0.

    It is the mean of two differences: to the set without the group, and to the set that has it twice. A distance is
    curved in its sample; one of the two alone (the jackknife) takes that curvature for spread, and makes a Fréchet
    distance's standard error a fifth too large at 48 images. Together they are right to a few per cent.
    """
    n = len(features)
    if len(groups) < 2:
        return np.zeros(len(groups))
    rows, counts = np.arange(n), np.array([len(group) for group in groups])
    without = [np.delete(rows, group) for group in groups]
    twice = [np.concatenate([rows, group]) for group in groups]
    whole = distance(features)
    lost = (counts - n) * (_each(features, without, distance, distances) - whole)
    gained = (counts + n) * (_each(features, twice, distance, distances) - whole)
    found = (lost + gained) / 2
    return np.asarray(found - found.sum() * counts / n)


def detectable(error: float, clusters: int, level: float = LEVEL, power: float = POWER) -> float:
    """The true difference that a two-sided test at this level finds with this power; NaN where it can't find any.

    error: standard error of the mean. clusters: how many it is estimated from; their sign flips act as Student's t.
    """
    if clusters < fewest(level):
        return math.nan
    return float((student.ppf(1 - level / 2, clusters - 1) + norm.ppf(power)) * error)


def fewest(level: float = LEVEL) -> int:
    """Clusters without which no sign-flip p-value is at most this level: all k differences of one sign have 2 / 2^k."""
    return math.ceil(1 - math.log2(level) - 1e-9)


def holm(ps: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjusted p-values (k,), in the order given."""
    values = np.asarray(ps, np.float64)
    order = np.argsort(values)
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.maximum.accumulate(steps).clip(max=1) if len(values) else steps
    return adjusted


def _inverted(
    n: int, sums: np.ndarray, counts: np.ndarray, wins: float, rng: np.random.Generator, flips: int
) -> Paired:
    """The sign-flip test of clusters' sums (k,) of `counts` (k,) pairs, and its inversion."""
    k, mean = len(sums), float(sums.sum() / counts.sum())
    means, empty = _subset_means(sums, counts, rng, flips)
    draws = len(means) + empty  # an empty subset is what was observed
    slack = 1e-12 * float(np.abs(sums / counts).max())
    beyond = empty + min((means <= slack).sum(), (means >= -slack).sum())
    place = math.floor(LEVEL / 2 * draws + 1e-9) - empty  # as many means may lie beyond 0 where p is at most LEVEL
    ends = np.partition(means, (place, len(means) - 1 - place)) if place >= 0 else means
    low, high = (float(ends[place]), float(ends[-1 - place])) if place >= 0 else (math.nan, math.nan)
    residuals = sums - mean * counts
    error = math.sqrt(k / (k - 1) * np.square(residuals).sum()) / counts.sum() if k > 1 else math.nan
    return Paired(n, mean, low, high, min(1.0, 2 * int(beyond) / draws), wins, float(error), k)


def _subset_means(sums: np.ndarray, counts: np.ndarray, rng: np.random.Generator, flips: int) -> tuple[np.ndarray, int]:
    """(the means over subsets of the clusters, how many subsets were empty): all 2^k subsets for k below 12, else
    `flips` drawn ones and the empty one.
    """
    k = len(sums)
    columns = np.stack([sums, counts], axis=1)
    if k < EXACT_BELOW:
        found = ((np.arange(2**k)[:, None] >> np.arange(k)) & 1) @ columns
    else:
        parts, each = [np.zeros((1, 2))], max(1, AT_ONCE // k)
        for begin in range(0, flips, each):
            bits = rng.integers(0, 256, size=(min(each, flips - begin), -(-k // 8)), dtype=np.uint8)
            parts.append(np.unpackbits(bits, axis=1, count=k).astype(np.float64) @ columns)
        found = np.concatenate(parts)
    total, size = found[found[:, 1] > 0].T
    return total / size, len(found) - len(total)


def _each(
    pool: np.ndarray,
    sets: Sequence[np.ndarray],
    distance: Callable[[np.ndarray], float],
    distances: Distances | None,
) -> np.ndarray:
    """(k,) distances of the sets of rows; those of one size together, where that is faster."""
    if distances is None:
        return np.array([distance(pool[rows]) for rows in sets])
    sizes = np.array([len(rows) for rows in sets])
    found = np.empty(len(sets))
    for size in np.unique(sizes):
        here = np.flatnonzero(sizes == size)
        found[here] = distances(pool, [sets[int(j)] for j in here])
    return found


def _members(clusters: Sequence[Hashable]) -> list[np.ndarray]:
    """The rows of each cluster, in the order of first appearance."""
    rows: dict[Hashable, list[int]] = {}
    for row, cluster in enumerate(clusters):
        rows.setdefault(cluster, []).append(row)
    return [np.array(found) for found in rows.values()]
