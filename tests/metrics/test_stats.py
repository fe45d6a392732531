"""Statistics of pairs: known values, and how often luck passes for an effect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from metrics.stats import contributions, detectable, fewest, holm, paired, paired_set


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .04 times 4 3 2 1, never falling.
    np.testing.assert_allclose(holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])
    assert len(holm([])) == 0


def test_holm_lies_between_raw_and_bonferroni() -> None:
    """Holm is never more lenient than the raw values, nor stricter than Bonferroni."""
    ps = rng().random(20) ** 3
    assert (holm(ps) >= ps).all() and (holm(ps) <= (20 * ps).clip(max=1)).all()


def test_all_sign_flips_are_counted() -> None:
    # Three equal differences: of 8 flips, two have a total as large: +++ and ---.
    assert paired(np.array([1.0, 1, 1]), np.zeros(3), range(3), rng()).p == pytest.approx(2 / 8)
    # 1 and -2: totals are 1, 3, 3, 1: all four are at least 1.
    assert paired(np.array([1.0, -2.0]), np.zeros(2), range(2), rng()).p == 1


def test_the_interval_by_hand() -> None:
    """Of six differences 64 subsets: the interval leaves out one mean at each end, and those are single differences."""
    found = paired(np.array([1.0, 2, 4, 8, 16, 32]), np.zeros(6), range(6), rng())
    assert (found.low, found.high, found.p) == (1, 32, 2 / 64)
    assert np.isnan(paired(np.ones(5), np.zeros(5), range(5), rng()).low)


@pytest.mark.parametrize("k", [6, 9, 13, 40])
def test_p_and_interval_never_disagree(k: int) -> None:
    agreed = []
    for trial in range(300):
        draw = rng(trial)
        clusters = np.concatenate([np.arange(k), draw.integers(0, k, size=k // 2)])  # of one or more images
        difference = draw.standard_t(3, len(clusters)) + 2 / np.sqrt(k)
        found = paired(difference, 0 * difference, clusters.tolist(), draw)
        agreed.append((found.p <= 0.05) == (found.low > 0 or found.high < 0))
    assert all(agreed)


def test_the_fewest_clusters_for_a_level() -> None:
    assert [fewest(level) for level in (0.25, 0.05, 0.05 / 6)] == [3, 6, 8]
    assert np.isnan(detectable(1.0, 7, 0.05 / 6)) and detectable(1.0, 8, 0.05 / 6) > detectable(1.0, 80, 0.05 / 6)
    assert detectable(2.0, 10_000) == pytest.approx(2 * 2.8016, rel=1e-3)  # 1.96 + 0.84


def test_a_clear_difference() -> None:
    b = rng().normal(size=100)
    found = paired(b + 1 + 0.1 * rng(1).normal(size=100), b, list(range(100)), rng())
    assert found.mean == pytest.approx(1, abs=0.05) and found.win_rate == 1
    # The interval's half width: 1.96 x 0.1 / sqrt(100), to the bootstrap's own noise.
    assert (found.high - found.low) / 2 == pytest.approx(0.0196, rel=0.25)
    assert found.low < 1 < found.high and found.p < 0.001


def test_ties_count_half() -> None:
    found = paired(np.array([1.0, 2, 3, 0]), np.array([1.0, 2, 2, 1]), range(4), rng())
    assert found.win_rate == 0.5


def test_clusters_keep_false_alarms_at_five_per_cent() -> None:
    """20 prompts of 5 images that share a prompt's luck and nothing else: no effect, 400 times."""
    clusters = np.repeat(np.arange(20), 5)
    alarms, naive = 0, 0
    for trial in range(400):
        draw = rng(trial)
        difference = np.repeat(draw.normal(size=20), 5) + 0.3 * draw.normal(size=100)
        alarms += paired(difference, np.zeros(100), clusters.tolist(), draw).p < 0.05
        naive += paired(difference, np.zeros(100), range(100), draw).p < 0.05
    # 5 % of 400 is 20, with a standard deviation of 4.4.
    assert 7 <= alarms <= 34
    assert naive > 100


def energy(features: np.ndarray) -> float:
    return float(np.square(features.mean(axis=0)).sum() + features.var(axis=0).sum())


def test_sets_that_differ_and_sets_that_do_not() -> None:
    b = rng(1).normal(size=(60, 3))
    found = paired_set(b * 1.5, b, energy, range(60), rng())
    assert found.p < 0.01 and found.low > 0 and found.low < found.mean < found.high and np.isnan(found.win_rate)
    same = paired_set(b + 0.01 * rng(2).normal(size=b.shape), b, energy, range(60), rng())
    assert same.p > 0.05 and same.low < 0 < same.high


def test_contributions_are_the_influence_of_each_row() -> None:
    """Of a mean, its distance to the mean of all; of a square of the mean, that times its slope."""
    x = rng(3).normal(size=(50, 1)) + 4
    groups = [np.array([row]) for row in range(50)]
    np.testing.assert_allclose(contributions(x, lambda f: float(f.mean()), groups), (x - x.mean())[:, 0], atol=1e-9)
    squared = contributions(x, lambda f: float(f.mean() ** 2), groups)
    np.testing.assert_allclose(squared, 2 * x.mean() * (x - x.mean())[:, 0], atol=0.02)
    uneven = np.array_split(np.arange(50), 7)
    found = contributions(x, lambda f: float(f.mean()), uneven)
    np.testing.assert_allclose(found, [(x[rows] - x.mean()).sum() for rows in uneven], atol=1e-9)


def test_distances_of_many_sets_at_once_change_nothing() -> None:
    a, b = rng(1).normal(size=(30, 3)), rng(2).normal(size=(30, 3))
    clusters = [number // 2 for number in range(30)]

    def at_once(pool: np.ndarray, sets: Sequence[np.ndarray]) -> np.ndarray:
        assert pool.shape == (30, 3)
        return np.array([energy(pool[rows]) for rows in sets])

    assert str(paired_set(a, b, energy, clusters, rng())) == str(paired_set(a, b, energy, clusters, rng(), at_once))


def test_swapping_the_two_changes_the_sign_and_nothing_else() -> None:
    a, b = rng(1).normal(size=40), rng(2).normal(size=40)
    one, other = paired(a, b, range(40), rng()), paired(b, a, range(40), rng())
    assert one.mean == -other.mean and one.p == other.p
    assert one.low == pytest.approx(-other.high) and one.win_rate == 1 - other.win_rate


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_cluster_for_each_pair_is_asked_for(count: int) -> None:
    with pytest.raises(ValueError, match="give n of each"):
        paired(np.zeros(3 if count else 0), np.zeros(3 if count else 0), range(count), rng())
