"""Statistics of pairs: known values, and how often luck passes for an effect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from metrics.stats import holm, paired, paired_set, sign_flip


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
    assert sign_flip(np.array([1.0, 1, 1]), rng()) == pytest.approx(2 / 8)
    # 1 and 2 of opposite signs: totals are 3, 1, 1, 3: all four are at least 1.
    assert sign_flip(np.array([1.0, -2.0]), rng()) == 1


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


def test_distances_of_many_sets_at_once_change_nothing() -> None:
    a, b = rng(1).normal(size=(30, 3)), rng(2).normal(size=(30, 3))
    clusters = [number // 2 for number in range(30)]

    def at_once(pool: np.ndarray, sets: Sequence[np.ndarray]) -> np.ndarray:
        assert pool.shape == (60, 3)
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
