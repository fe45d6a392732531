"""How many votes are needed, and the error that looks spend: known values, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from search.voting.looks import levels, planned_votes, votes_needed


@pytest.mark.parametrize(("rate", "votes"), [(0.60, 194), (0.65, 85), (0.70, 47), (0.40, 194), (0.85, 14)])
def test_votes_for_a_win_rate(rate: float, votes: int) -> None:
    assert votes_needed(rate) == votes
    assert votes_needed(rate, 0.025) > votes
    assert votes < planned_votes(rate) < 1.3 * votes


def test_levels_are_the_published_bounds() -> None:
    """Of Lan and DeMets's function that acts as O'Brien and Fleming's, for two and three equal looks."""
    bounds = norm.isf(np.array(levels(0.05, (1 / 3, 2 / 3, 1.0))) / 2)
    assert bounds == pytest.approx([3.710, 2.511, 1.993], abs=0.002)
    assert norm.isf(np.array(levels(0.05, (0.5, 1.0))) / 2) == pytest.approx([2.963, 1.969], abs=0.002)
    assert levels(0.05, (1.0,)) == pytest.approx([0.05], abs=1e-4)


def test_all_looks_together_err_in_five_per_cent() -> None:
    rng = np.random.default_rng(0)
    times = np.array((0.5, 0.75, 1.0))
    steps = rng.normal(size=(200_000, 3)) * np.sqrt(np.diff(times, prepend=0))
    ps = 2 * norm.sf(np.abs(steps.cumsum(1)) / np.sqrt(times))
    assert (ps < levels(0.05, tuple(times))).any(1).mean() == pytest.approx(0.05, abs=0.002)  # 4 standard errors
