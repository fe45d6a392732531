"""The expected growth of a hypervolume, against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from search.optimizer.hypervolume_gain import Growth, improvement
from search.optimizer.pareto_front import hypervolume, nondominated


@given(st.floats(-3, 3), st.floats(0.05, 2))
def test_an_improvement_is_the_integral_of_its_definition(margin: float, deviation: float) -> None:
    by_definition, _ = quad(lambda x: x * norm.pdf(x, margin, deviation), 0, margin + 12 * deviation)
    assert improvement(np.array(margin), np.array(deviation)) == pytest.approx(by_definition, abs=1e-7)


def test_one_objective_grows_by_its_improvement_on_the_best() -> None:
    grown = Growth(np.array([[2.0]]), np.array([1.0]))(np.array([[2.5], [1.0]]), np.array([[0.0], [0.5]]))
    assert grown == pytest.approx([0.5, 0.5 * (norm.pdf(2) - 2 * norm.cdf(-2))])


@pytest.mark.parametrize("k", [2, 3, 4])
def test_a_sure_candidate_grows_what_the_hypervolume_grows(k: int) -> None:
    rng, reference = np.random.default_rng(k), np.full(k, -0.2)
    points = rng.random((40, k))
    front = points[nondominated(points)]
    more = rng.uniform(-0.5, 1.5, (20, k))
    volume = hypervolume(front, reference)
    wanted = [hypervolume(np.vstack([front, row]), reference) - volume for row in more]
    assert Growth(front, reference)(more, np.zeros((20, k))) == pytest.approx(wanted, abs=1e-5)
    assert max(wanted) > 0.1


def test_a_doubtful_candidate_grows_the_mean_over_its_draws() -> None:
    rng, reference = np.random.default_rng(0), np.zeros(3)
    points = rng.random((30, 3))
    front = points[nondominated(points)]
    mean, deviation = np.array([0.8, 0.6, 0.7]), np.array([0.1, 0.3, 0.2])
    drawn = mean + deviation * rng.standard_normal((4000, 3))
    growth = Growth(front, reference)
    each = growth(drawn, np.zeros_like(drawn))
    error = each.std() / len(each) ** 0.5
    assert growth(mean[None], deviation[None])[0] == pytest.approx(each.mean(), abs=4 * error)
    assert each.mean() > 10 * error
