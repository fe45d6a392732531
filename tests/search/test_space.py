from __future__ import annotations

import numpy as np
import pytest

from freeu import IDENTITY, PUBLISHED, Factors
from search.space import NAMES, RANGES, distributions, sobol, to_factors, to_params, unit


def test_the_space_holds_no_freeu_and_all_published_factors() -> None:
    for factors in (IDENTITY, *PUBLISHED.values()):
        assert all(0 <= x <= 1 for x in unit(factors))
        for name, distribution in distributions().items():
            assert distribution._contains(getattr(factors, name))


def test_there_and_back() -> None:
    factors = Factors(1.1, 1.7, 0.3, 0.0, "v1", "block")
    assert to_factors(to_params(factors), "v1", "block") == factors


def test_unit_maps_the_ranges_ends() -> None:
    assert unit(Factors(0.8, 0.8, 0.0, 0.0)) == [0, 0, 0, 0]
    assert unit(Factors(1.8, 1.8, 1.2, 1.2)) == pytest.approx([1, 1, 1, 1])


def test_sobol_points_fill_the_space_and_repeat_by_seed() -> None:
    points = sobol(8, 3)
    assert points == sobol(8, 3)
    assert points[:5] == sobol(5, 3)
    assert points != sobol(8, 4)
    assert sobol(0, 3) == []
    for name in NAMES:
        low, high = RANGES[name]
        eighths = np.floor([8 * (point[name] - low) / (high - low) for point in points])
        assert sorted(eighths) == list(range(8))  # a scrambled Sobol net puts one point in each eighth
