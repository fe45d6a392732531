"""Our sampler: Optuna's own contract suites, and that it finds a front sooner than chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from scipy.spatial.distance import cdist

from search.optimizer import acquisition
from search.optimizer.acquisition import FrontSampler
from search.optimizer.gaussian_process import GaussianProcess, pooled
from search.optimizer.pareto_front import hypervolume


class TestFrontSampler(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: FrontSampler(seed=0, fewest=1)


def reached(sampler: BaseSampler, trials: int, bounded: bool = False) -> float:
    """The hypervolume of two objectives with known ends: the front is the line from (0.2, …) to (0.8, …) in four
    dimensions, where each objective is 1 at most."""
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    for _ in range(trials):
        trial = study.ask()
        x = np.array([trial.suggest_float(name, 0, 1) for name in "abcd"])
        trial.set_user_attr("spreads", [0.01, 0.01])
        if bounded:
            trial.set_constraint("a", x[0] - 0.5)
        study.tell(trial, [1 - np.square(x - 0.2).sum(), np.square(x - 0.8).sum() - 1])
    within = [t for t in study.trials if not bounded or t.constraints["a"] <= 0]
    return hypervolume(np.array([t.values for t in within]) * [1, -1], np.array([-0.5, -0.5]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bounded", [False, True])
def test_it_finds_a_front_sooner_than_chance(bounded: bool) -> None:
    ours = [reached(FrontSampler(seed), 24, bounded) for seed in range(2)]
    chance = [reached(optuna.samplers.RandomSampler(seed), 96, bounded) for seed in range(2)]
    assert min(ours) > max(chance)


@pytest.mark.filterwarnings("ignore")
def test_what_was_tried_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both objectives are best in one corner, and noisy: to the models more draws there are always worth something."""

    def apart() -> float:
        study = optuna.create_study(directions=["maximize", "maximize"], sampler=FrontSampler(0))
        rng, tried = np.random.default_rng(0), []
        for _ in range(30):
            trial = study.ask()
            x = np.array([trial.suggest_float(name, 0, 1) for name in "ab"])
            trial.set_user_attr("spreads", [0.3, 0.3])
            study.tell(trial, list(-x.sum() + 0.1 * rng.normal(size=2)))
            tried.append(x)
        near = cdist(tried, tried) + np.eye(30)
        return float(np.median(near.min(axis=1)))

    found = apart()
    monkeypatch.setattr(acquisition, "APART", 1e-9)
    assert found > 3 * apart()


def test_the_models_gradient_is_that_of_its_loss() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((12, 3))
    model = GaussianProcess(x, np.sin(3 * x).sum(1), rng.uniform(0.05, 0.2, 12))
    theta = rng.normal(-0.5, 0.3, 5)
    _, gradient = model._loss(theta)
    for i, step in enumerate(1e-5 * np.eye(5)):
        slope = (model._loss(theta + step)[0] - model._loss(theta - step)[0]) / 2e-5
        assert gradient[i] == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_what_an_observation_teaches_is_the_move_of_the_mean() -> None:
    """Against the joint normal distribution of the objective and the observation, written out: a little noise of its
    own, and luck, which of two observations is the one's with the smaller noise, as alike as the objective is.
    """
    rng = np.random.default_rng(1)
    x, errors = rng.random((9, 2)), rng.uniform(0.1, 0.4, 9)
    model = GaussianProcess(x, np.sin(4 * x).sum(1) + errors * rng.normal(size=9), errors)
    at = np.array([[0.4, 0.6], x[0]])
    scale, signal = model._scale, model._signal
    known = np.append(errors / scale, np.median(errors / scale)) ** 2
    for place, (_, deviation), found in zip(
        at, zip(*model.predict(at), strict=True), model.learnt(at) / scale, strict=True
    ):
        places = np.vstack([x, place])
        alike = np.exp(-0.5 * (((places[:, None] - places) / model._lengths) ** 2).sum(-1))
        seen = alike * (signal + np.minimum.outer(known, known))
        seen += model._unknown * np.eye(len(seen))
        objective = signal * alike[-1]  # with all that is seen
        before, new = seen[:-1, :-1], seen[-1]
        told = np.linalg.solve(before, objective[:-1])
        covariance = objective[-1] - told @ new[:-1]
        variance = new[-1] - new[:-1] @ np.linalg.solve(before, new[:-1])
        assert found == pytest.approx(covariance / np.sqrt(variance), rel=1e-6)
        assert deviation / scale == pytest.approx(np.sqrt(signal - told @ objective[:-1]), rel=1e-6)


def test_neighbours_that_agree_leave_a_doubt_where_they_share_their_luck() -> None:
    """Forty observations within a tenth of a range: if each had its own noise, their mean would be known to a sixth,
    0.05; as it is, to no less than what luck leaves of the signal, which both have the same kernel.
    """
    rng = np.random.default_rng(0)
    x = np.vstack([0.5 + 0.05 * rng.normal(size=(40, 2)), rng.random((20, 2))])
    y, errors = np.sin(3 * x).sum(1), np.full(60, 0.3)
    model, middle = GaussianProcess(x, y, errors), np.array([[0.5, 0.5]])
    signal = model._scale * np.sqrt(model._signal)
    assert model.predict(middle)[1][0] == pytest.approx(signal * 0.3 / np.hypot(signal, 0.3), rel=0.1)
    assert model.learnt(middle)[0] < 0.2 * model.learnt(np.array([[1.0, 0.0]]))[0]


def test_errors_are_pooled_with_neighbours() -> None:
    """Closed forms: one place pools by images; places far apart keep their own; the error falls with the root."""
    near, far = np.zeros((3, 2)), np.array([[0.0, 0.0], [5.0, 5.0]])
    # Variances of an image: 4 · 4 = 16, 1 · 4 = 4, 4 · 16 = 64, weighted 4, 4, 16: (64 + 16 + 1024) / 24 = 46.
    found = pooled(near, np.array([2.0, 1.0, 2.0]), np.array([4.0, 4.0, 16.0]))
    assert found == pytest.approx(np.sqrt(46 / np.array([4, 4, 16])))
    assert pooled(far, np.array([2.0, 1.0]), np.array([4.0, 4.0])) == pytest.approx([2.0, 1.0])


def test_what_is_not_known_is_not_pooled() -> None:
    x, images = np.zeros((3, 2)), np.array([12.0, 12.0, 12.0])
    found = pooled(x, np.array([0.1, np.nan, 0.3]), images)
    assert np.isnan(found[1]) and found[[0, 2]] == pytest.approx(np.sqrt(0.05))
    assert np.isnan(pooled(x, np.full(3, np.nan), images)).all()
    unknown = np.array([12.0, np.nan, 12.0])  # of a study from before images were written down
    assert pooled(x, np.array([0.1, 0.2, 0.3]), unknown) == pytest.approx([0.1, 0.2, 0.3])


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=12), st.integers(0, 99))
def test_a_pooled_variance_is_between_the_least_and_the_most(errors: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, images = rng.random((len(errors), 4)), rng.integers(1, 49, len(errors)).astype(float)
    of_an_image = np.array(errors) * np.sqrt(images)
    found = pooled(x, np.array(errors), images) * np.sqrt(images)
    assert (found >= of_an_image.min() * (1 - 1e-9)).all() and (found <= of_an_image.max() * (1 + 1e-9)).all()


def test_a_study_tells_of_how_many_images_its_errors_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lucky error of one trial does not reach the model where images are told."""
    seen: list[np.ndarray] = []
    monkeypatch.setattr(acquisition, "GaussianProcess", lambda x, y, spread: seen.append(spread) or 1.0)
    for told in (True, False):
        study = optuna.create_study(sampler=FrontSampler(0, fewest=3))
        for k in range(3):
            trial = study.ask({"a": optuna.distributions.FloatDistribution(0, 1)})
            trial.set_user_attr("spreads", [0.001 if k == 1 else 0.3])
            if told:
                trial.set_user_attr("images", 12)
            study.tell(trial, float(k))
        study.ask({"a": optuna.distributions.FloatDistribution(0, 1)})
    assert seen[0].min() > 0.05 and seen[1].min() == 0.001


def test_the_model_is_sure_where_it_knows() -> None:
    x = np.linspace(0, 0.5, 12)[:, None]
    model = GaussianProcess(x, np.sin(6 * x[:, 0]), np.full(12, 1e-3))
    mean, deviation = model.predict(np.array([[0.23], [1.0]]))
    assert mean[0] == pytest.approx(np.sin(6 * 0.23), abs=0.01)
    assert deviation[0] < 0.02 < 0.2 < deviation[1]
