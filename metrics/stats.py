"""Statistics of paired comparisons: is b better than a, by how much, and could it be luck?

The datum is the difference under the same prompt and seed. Several images of one prompt are not independent, so prompts
are what is resampled and what changes sign together (ignoring that gave 43 % false positives in a simulation; ours is
tests/metrics/test_calibration.py).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

RESAMPLES = 4000
SET_RESAMPLES = 500
LEVEL = 0.05
EXACT_BELOW = 12
"""With fewer clusters all sign flips are counted instead of drawn."""


Distances = Callable[[np.ndarray, Sequence[np.ndarray]], np.ndarray]
"""Of some of the rows of features (m, d), for each of k choices of rows: (k,)."""


@dataclass(frozen=True)
class Paired:
    """A comparison of n pairs.

    Attributes:
        mean: mean of a - b.
        low, high: 95 % interval of the mean by a bootstrap over clusters, BCa for values and shifted for sets.
        p: two-sided permutation p-value of "no difference".
        win_rate: share of pairs with a > b, ties counting half; NaN for a comparison of sets.
        detectable: the smallest true difference that as many prompts would show in 4 of 5 studies; NaN for sets.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float
    win_rate: float
    detectable: float = float("nan")


def paired(a: np.ndarray, b: np.ndarray, clusters: Sequence[Hashable], rng: np.random.Generator) -> Paired:
    """Compares values (n,) of two treatments of the same n inputs; `clusters` names the prompt of each.

    The interval is the bias-corrected and accelerated bootstrap's (Efron 1987) over clusters; below 3 of them, or where
    all agree, it is the percentiles'.
    """
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    if difference.ndim != 1 or len(difference) != len(clusters) or not len(difference):
        raise ValueError(f"{np.shape(a)} and {np.shape(b)} values and {len(clusters)} clusters: give n of each, n > 0")
    members = _members(clusters)
    sums = np.array([difference[rows].sum() for rows in members])
    counts = np.array([len(rows) for rows in members])
    drawn = rng.integers(len(members), size=(RESAMPLES, len(members)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    mean = float(difference.mean())
    left_out = (sums.sum() - sums) / np.maximum(counts.sum() - counts, 1)
    low, high = np.quantile(means, _bca_levels(means, mean, left_out))
    wins = float((np.sign(difference) + 1).mean() / 2)
    p = sign_flip(sums, rng)
    return Paired(len(difference), mean, float(low), float(high), p, wins, minimum_detectable(float(means.std())))


def minimum_detectable(standard_error: float, power: float = 0.8, level: float = LEVEL) -> float:
    """The true difference that a two-sided normal test of this standard error finds with this power."""
    return float((norm.ppf(1 - level / 2) + norm.ppf(power)) * standard_error)


def _bca_levels(resampled: np.ndarray, observed: float, left_out: np.ndarray) -> np.ndarray:
    """The two quantiles of the resampled means that are the ends of the interval.

    left_out: the mean without each cluster, whose skewness is the acceleration.
    """
    k = len(left_out)
    # A bootstrap of k clusters is too narrow by √((k - 1) / k) and takes the normal's quantiles for Student's; the
    # levels make up for both (Hesterberg, The American Statistician 69, 2015).
    reach = np.sqrt(k / (k - 1)) * student.ppf(1 - LEVEL / 2, k - 1) if k > 1 else norm.ppf(1 - LEVEL / 2)
    plain = norm.cdf([-reach, reach])
    # Ties count half, else a discrete statistic would look biased.
    below = (resampled < observed).mean() + (resampled == observed).mean() / 2
    pull = left_out.mean() - left_out
    size = np.square(pull).sum()
    if k < 3 or not 0 < below < 1 or size <= 0:
        return plain
    bias, acceleration = norm.ppf(below), (pull**3).sum() / (6 * size**1.5)
    z = bias + norm.ppf(plain)
    return np.asarray(norm.cdf(bias + z / (1 - acceleration * z)))


def sign_flip(sums: np.ndarray, rng: np.random.Generator) -> float:
    """Two-sided p of a total that would be as likely negative: signs of the cluster sums (k,) flipped at random.

    All 2^k flips are counted for k below 12; otherwise as many are drawn as for the bootstrap, the observed one among
    them, so p is never 0.
    """
    k = len(sums)
    if k < EXACT_BELOW:
        flips = 1 - 2.0 * ((np.arange(2**k)[:, None] >> np.arange(k)) & 1)
    else:
        flips = np.concatenate([np.ones((1, k)), rng.choice([-1.0, 1.0], size=(RESAMPLES, k))])
    totals = np.abs(flips @ sums)
    return float((totals >= totals[0] * (1 - 1e-12)).mean())


def paired_set(
    a: np.ndarray,
    b: np.ndarray,
    distance: Callable[[np.ndarray], float],
    clusters: Sequence[Hashable],
    rng: np.random.Generator,
    distances: Distances | None = None,
) -> Paired:
    """Compares a distance of two sets of features (n, d) whose rows are pairs.

    The p-value swaps the two labels within clusters; the interval resamples whole clusters of pairs. A resampled set
    repeats images, which biases each distance alike: the interval is shifted to lie round the observed difference.
    distances: the same of many sets at once, where there is a faster way than one by one.
    """
    if len(a) != len(b) or len(a) != len(clusters):
        raise ValueError(f"{len(a)} and {len(b)} rows and {len(clusters)} clusters: give n of each")
    members, n = _members(clusters), len(a)
    pool, of_a = np.concatenate([a, b]), np.arange(n)  # a's rows are followed by b's
    of = np.empty(n, int)
    for j, rows in enumerate(members):
        of[rows] = j
    heads = rng.random((SET_RESAMPLES, len(members)))[:, of] < 0.5
    swapped = [rows for swap in heads for rows in (of_a + n * swap, of_a + n * ~swap)]
    draws = rng.integers(len(members), size=(SET_RESAMPLES, len(members)))
    drawn = (np.concatenate([members[j] for j in draw]) for draw in draws)
    resampled = [each for rows in drawn for each in (rows, rows + n)]

    def differences(sets: Sequence[np.ndarray]) -> np.ndarray:
        found = [distance(pool[rows]) for rows in sets] if distances is None else distances(pool, sets)
        one, other = np.reshape(found, (-1, 2)).T
        return np.asarray(one - other)

    observed = distance(a) - distance(b)
    by_swap, by_draw = differences(swapped), differences(resampled)
    p = (1 + (np.abs(by_swap) >= abs(observed) * (1 - 1e-12)).sum()) / (SET_RESAMPLES + 1)
    low, high = np.quantile(by_draw - by_draw.mean(), [0.025, 0.975]) + observed
    return Paired(len(a), float(observed), float(low), float(high), float(p), float("nan"))


def holm(ps: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjusted p-values (k,), in the order given."""
    values = np.asarray(ps, np.float64)
    order = np.argsort(values)
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.maximum.accumulate(steps).clip(max=1) if len(values) else steps
    return adjusted


def _members(clusters: Sequence[Hashable]) -> list[np.ndarray]:
    """The rows of each cluster, in the order of first appearance."""
    rows: dict[Hashable, list[int]] = {}
    for row, cluster in enumerate(clusters):
        rows.setdefault(cluster, []).append(row)
    return [np.array(found) for found in rows.values()]
