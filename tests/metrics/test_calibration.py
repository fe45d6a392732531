"""The statistics by simulation: how often they see a difference that isn't there, and miss one that is.

Differences are clustered, as several seeds of one prompt are: a prompt's share, skewed, and an image's own.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from metrics import stats

PROMPTS, SEEDS, RUNS = 40, 4, 1500


def simulated(run: int, effect: float = 0.0, skewed: bool = True) -> np.ndarray:
    """Differences (PROMPTS · SEEDS,) with a mean of `effect` and as much variance between prompts as within them."""
    rng = np.random.default_rng([7, run])
    prompt = (rng.exponential(1, (PROMPTS, 1)) - 1) if skewed else rng.normal(0, 1, (PROMPTS, 1))
    return (effect + prompt + rng.normal(0, 1, (PROMPTS, SEEDS))).ravel()


CLUSTERS = tuple(np.repeat(np.arange(PROMPTS), SEEDS))


@pytest.fixture(scope="module")
def found() -> list[tuple[stats.Paired, float]]:
    """(ours, the naive p of a t-test that takes images for independent) for runs without a difference."""
    every = []
    for run in range(RUNS):
        x = simulated(run, skewed=False)
        ours = stats.paired(x, 0 * x, CLUSTERS, np.random.default_rng([8, run]), 999)
        every.append((ours, float(ttest_1samp(x, 0).pvalue)))
    return every


def test_a_difference_that_is_not_there_is_seen_in_1_of_20(found, record_property) -> None:
    ours = np.mean([pair.p < 0.05 for pair, _ in found])
    naive = np.mean([p < 0.05 for _, p in found])
    record_property("rejected", f"{ours:.3f}, naive {naive:.3f}")
    assert abs(ours - 0.05) <= 0.015
    assert naive > 0.15  # what ignoring the clusters does


def test_intervals_hold_the_truth_19_times_of_20(found) -> None:
    assert 0.93 <= np.mean([pair.low <= 0 <= pair.high for pair, _ in found]) <= 0.97


def test_intervals_of_skewed_differences_too() -> None:
    held = []
    for run in range(RUNS):
        x = simulated(run)
        pair = stats.paired(x, 0 * x, CLUSTERS, np.random.default_rng([9, run]), 999)
        held.append(pair.low <= 0 <= pair.high)
    assert 0.93 <= np.mean(held) <= 0.97


def test_intervals_of_heavy_tails_too() -> None:
    """As of scores where one image in thirty fails: excess kurtosis of 30 and more."""
    held = []
    for run in range(RUNS):
        rng = np.random.default_rng([12, run])
        x = rng.normal(0, 1, 96) + 8 * (rng.random(96) < 1 / 30) * rng.choice([-1, 1], 96)
        pair = stats.paired(x, 0 * x, range(96), rng, 999)
        held.append(pair.low <= 0 <= pair.high)
    assert 0.93 <= np.mean(held) <= 0.97


@pytest.mark.parametrize("level", [0.05, 0.05 / 6])
def test_the_detectable_difference_is_found_in_4_of_5(level: float) -> None:
    x = simulated(0, skewed=False)
    pair = stats.paired(x, 0 * x, CLUSTERS, np.random.default_rng(0))
    exact = np.sqrt((1 + 1 / SEEDS) / PROMPTS)
    assert pair.error == pytest.approx(exact, rel=0.25)
    size = stats.detectable(exact, PROMPTS, level)
    seen = [
        stats.paired(y, 0 * y, CLUSTERS, np.random.default_rng([10, run])).p < level
        for run in range(1000)
        for y in [simulated(run, size, skewed=False)]
    ]
    assert 0.75 <= np.mean(seen) <= 0.85


def test_sets_without_a_difference_are_told_apart_in_1_of_20() -> None:
    """Swapping labels within pairs; the distance is cheap, to have many runs."""
    runs = 300
    rejected = 0
    for run in range(runs):
        rng = np.random.default_rng([11, run])
        common = rng.normal(size=(20, 1, 3))
        a, b = ((common + rng.normal(size=(20, 2, 3))).reshape(40, 3) for _ in range(2))
        clusters = np.repeat(np.arange(20), 2)
        pair = stats.paired_set(a, b, lambda x: float(np.square(x.mean(0)).sum()), clusters, rng)
        rejected += pair.p < 0.05
    assert rejected / runs <= 0.05 + 0.03  # two standard errors of 300 runs


def test_intervals_of_a_curved_distance_hold_the_truth() -> None:
    """The square of the mean's distance to a reference, as a Fréchet distance has it."""
    held = []
    for run in range(400):
        rng = np.random.default_rng([13, run])
        a, b = rng.normal(0.6, 1, (40, 8)), rng.normal(0.5, 1, (40, 8))
        pair = stats.paired_set(a, b, lambda x: float(np.square(x.mean(0)).sum()), range(40), rng, flips=999)
        held.append(pair.low <= 8 * (0.6**2 - 0.5**2) <= pair.high)
    assert 0.93 <= np.mean(held) <= 0.97


def test_more_prompts_see_smaller_differences() -> None:
    sizes = [
        stats.detectable(stats.paired(x, 0 * x, range(n), np.random.default_rng(0)).error, n)
        for n in (10, 40, 160)
        for x in [np.random.default_rng(n).normal(size=n)]
    ]
    assert all(small < large for large, small in pairwise(sizes))
