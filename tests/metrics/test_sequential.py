"""Sequential bounds: known values, and the error over all looks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from metrics.sequential import adjusted, attainable, bounds

QUARTERS = (0.25, 0.5, 0.75, 1.0)


def looks(runs: int, drift: float = 0.0) -> np.ndarray:
    """Two-sided p (runs, 4) of a Brownian motion with this drift at four times."""
    steps = np.random.default_rng(5).normal(drift / 4, 0.5, (runs, 4))
    return 2 * norm.sf(np.abs(steps.cumsum(1)) / np.sqrt(QUARTERS))


def test_one_look_is_the_plain_test() -> None:
    assert bounds(0.05, (1.0,)) == pytest.approx((0.05,))
    assert adjusted(0.013, 0, (1.0,)) == pytest.approx(0.013, rel=0.01)


def test_two_looks_as_the_bivariate_normal_has_them() -> None:
    first, second = bounds(0.05, (0.5, 1.0))
    assert first == pytest.approx(0.05 / 8)  # all that the first may spend
    a, b = norm.isf(first / 2), norm.isf(second / 2)
    joint = multivariate_normal(cov=[[1, np.sqrt(0.5)], [np.sqrt(0.5), 1]])
    corners = [joint.cdf([x, y]) for x, y in ((a, b), (-a, b), (a, -b), (-a, -b))]
    inside = corners[0] - corners[1] - corners[2] + corners[3]
    assert 1 - inside == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_the_error_over_all_looks_is_the_level(level: float) -> None:
    rejected = (looks(100_000) <= bounds(level, QUARTERS)).any(1).mean()
    assert rejected == pytest.approx(level, abs=3 * np.sqrt(level / 100_000))


def test_an_adjusted_p_rejects_where_the_bound_was_reached() -> None:
    """And is no smaller than a uniform one where nothing is there, wherever a sequence ends."""
    for ps in looks(300):
        for look in range(4):
            reached = ps[look] <= bounds(0.05, QUARTERS)[look]
            found = adjusted(ps[look], look, QUARTERS)
            if abs(found / 0.05 - 1) > 0.02:  # bounds between levels are interpolated
                assert (found < 0.05) is bool(reached)
    found = np.array([[adjusted(p, look, QUARTERS) for look, p in enumerate(ps)] for ps in looks(2000)]).min(1)
    for level in (0.05, 0.2, 0.5):  # the worst end that a reader of all looks could choose
        assert (found < level).mean() == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / 2000))


def test_what_can_still_be_attained() -> None:
    assert attainable(1e-9, 0.5, 0.05, QUARTERS) > 0.999
    assert attainable(0.9, 0.75, 0.05, QUARTERS) < 0.05
    # Half way, an effect as it looks: the rest adds as much again with a spread of √½.
    z = 2.0
    expected = norm.cdf(
        (z * np.sqrt(0.5) + z / np.sqrt(0.5) / 2 - norm.isf(bounds(0.05, QUARTERS)[-1] / 2)) / np.sqrt(0.5)
    )
    assert attainable(2 * norm.sf(z), 0.5, 0.05, QUARTERS, optimism=0) == pytest.approx(expected)
