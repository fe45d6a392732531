"""Proposes the candidate expected to enlarge the front most, by a Gaussian process of each objective.

Made for scores with known noise, many of them on few prompts: what counts as the front so far is the models' mean at
the candidates, not what they happened to score (as in Daulton et al., arXiv 2105.08195), and what a candidate may add
is where the mean may move once the candidate has been tried, a knowledge gradient (Frazier et al., INFORMS Journal on
Computing 21, 2009). The hypervolume's expected gain (search/optimizer/hypervolume_gain.py) is taken times the
probability that the constraints hold. All known noise is common to neighbours, so that the search does not stay
where its first prompts are lucky.

Written as a sampler of Optuna's, for any study: standard errors are read from a trial's user attribute `spreads`, one
for each objective, and from how many images they are from `images`; without the first the noise is fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.spatial.distance import cdist
from scipy.special import ndtr
from scipy.stats import qmc

from search.optimizer.gaussian_process import GaussianProcess, pooled
from search.optimizer.hypervolume_gain import Growth
from search.optimizer.pareto_front import nondominated, telling, unbeaten
from search.storage.trial_record import IMAGES, SPREADS

FEWEST = 6
MOST = 300
"""Trials that the models are fitted to: the cost grows with the cube."""
EVERYWHERE, NEARBY = 512, 512
"""Points that are looked at, over all and near the front."""
MARGIN = 0.5
"""Of the front's span, how far beyond its ends the hypervolume counts; by a tenth, ends once missed stay missed."""
CROWD = 24
"""Of a front of five objectives or more, how many stand for it: the boxes grow with a power of them."""
APART = 0.15
"""Of a range, how far from all that was tried a candidate is worth its whole growth. Prompts and noise are the same for
all, so a neighbour's scores say again what is known: to the models they would be another draw."""
REFINED = (0.05, 0.02)
"""How far around the best points, in two further rounds."""

SPACES: WeakKeyDictionary[Study, IntersectionSearchSpace] = WeakKeyDictionary()
"""What all trials of a study have, for its next sampler: to learn it anew would take time as the trials."""


class FrontSampler(BaseSampler):
    """Proposes the candidate expected to enlarge the front most; random while there are few trials."""

    def __init__(self, seed: int | None = None, fewest: int = FEWEST) -> None:
        """fewest: complete trials before a model is trusted, at least 1."""
        self._fewest = fewest
        self._rng = np.random.default_rng(seed)
        self._random = RandomSampler(seed)

    def reseed_rng(self) -> None:
        """As Optuna has it, for parallel use."""
        self._rng = np.random.default_rng()
        self._random.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The dimensions that all trials have."""
        space = SPACES.setdefault(study, IntersectionSearchSpace()).calculate(study, use_cache=True)
        return {name: distribution for name, distribution in space.items() if not distribution.single()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Dimensions that only some trials have are random."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """One value for each dimension; none where there are too few trials."""
        names = search_space.keys()
        trials = [t for t in study._get_trials(deepcopy=False, use_cache=True) if names <= t.params.keys()]
        done = [t for t in trials if t.state == TrialState.COMPLETE]
        signs = np.array([-1.0 if each == StudyDirection.MINIMIZE else 1.0 for each in study.directions])
        y = np.array([t.values for t in done]).reshape(-1, len(signs)) * signs
        sound = np.flatnonzero(np.isfinite(y).all(axis=1))
        if not search_space or len(sound) < self._fewest:
            return {}
        rows = sound[telling(y[sound], MOST)]
        done, y = [done[row] for row in rows], y[rows]
        code = _SearchSpaceTransform(search_space, transform_0_1=True)
        x = np.stack([code.transform({name: t.params[name] for name in search_space}) for t in done])
        images = np.array([float(t.user_attrs.get(IMAGES, np.nan)) for t in done])
        models = [_model(x, y[:, j], pooled(x, _spreads(done, j), images)) for j in range(len(signs))]
        limits = _limits(x, done)
        running = [t for t in trials if t.state == TrialState.RUNNING and t.number != trial.number]
        if running:  # taken to score what is expected of them
            pending = np.stack([code.transform({name: t.params[name] for name in search_space}) for t in running])
            models = [model if isinstance(model, float) else model.awaiting(pending) for model in models]
            x = np.concatenate([x, pending])
        fixed = trial.system_attrs.get("fixed_params", {})
        some = code.transform({name: fixed.get(name, done[0].params[name]) for name in search_space})
        columns = [
            column
            for name, own in zip(search_space, code.column_to_encoded_columns, strict=True)
            for column in own
            if name in fixed
        ]

        def held(points: np.ndarray) -> np.ndarray:
            points[:, columns] = some[columns]
            return points

        within = np.array([all(v <= 0 for v in t.constraints.values()) for t in done] + [True] * len(running))
        best = self._best(x, within if within.any() else ~within, models, limits, held)
        return dict(code.untransform(best))

    def _best(
        self,
        x: np.ndarray,
        within: np.ndarray,
        models: Sequence[Any],
        limits: Sequence[Any],
        held: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """held: puts points where the trial's fixed values are."""
        means, doubts = _predicted(models, x[within])
        # Growth counts beyond the worst that may be on the front. By the means' front alone the search would stay where
        # it happened to look first.
        may = unbeaten(means, doubts)
        span = np.maximum(np.ptp(means[may], axis=0), 0.1 * means.std(axis=0))
        span = np.where(span > 0, span, 1.0)
        reference = means[may].min(axis=0) - MARGIN * span
        front = (means[nondominated(means)] - reference) / span
        if front.shape[1] > 4 and len(front) > CROWD:
            front = self._rng.choice(front, CROWD, replace=False)
        grown = Growth(front, np.zeros_like(span))

        def growth(points: np.ndarray) -> np.ndarray:
            # A noisy trial does not show the objective: it moves the model's mean, by less.
            moved = np.stack([_learnt(model, points) for model in models], axis=1)
            gains = grown((_predicted(models, points)[0] - reference) / span, moved / span)
            for limit in limits:
                mean, deviation = _predict(limit, points)
                gains *= ndtr(-mean / np.maximum(deviation, 1e-9))
            return np.asarray(gains * (cdist(points, x).min(axis=1) / APART).clip(max=1))

        places = x[within][may]
        d = x.shape[1]
        near = places[self._rng.integers(len(places), size=NEARBY)]
        steps = self._rng.normal(size=(NEARBY, d)) * 10 ** self._rng.uniform(-1.6, -0.5, size=(NEARBY, 1))
        points = held(np.concatenate([qmc.Sobol(d, rng=self._rng).random(EVERYWHERE), (near + steps).clip(0, 1)]))
        gains = growth(points)
        for step in REFINED:
            best = np.repeat(points[np.argsort(-gains)[:8]], 24, axis=0)
            more = held((best + step * self._rng.normal(size=best.shape)).clip(0, 1))
            points, gains = np.concatenate([points, more]), np.concatenate([gains, growth(more)])
        return np.asarray(points[gains.argmax()])


def _spreads(done: Sequence[FrozenTrial], objective: int) -> np.ndarray:
    given: list[Mapping[int, float] | Any] = [t.user_attrs.get(SPREADS) for t in done]
    found = [np.nan if each is None or each[objective] is None else float(each[objective]) for each in given]
    known = np.array(found)
    if np.isfinite(known).any():  # the baseline has no difference to itself
        known[~np.isfinite(known)] = np.nanmedian(known)
    return known


def _model(x: np.ndarray, y: np.ndarray, spread: np.ndarray) -> Any:
    """A Gaussian process; a constant if all values are equal."""
    if y.std() <= 1e-12 * max(1.0, float(np.abs(y).max())):
        return float(y.mean())
    return GaussianProcess(x, y, spread)


def _predict(model: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(model, float):
        return np.full(len(x), model), np.zeros(len(x))
    mean, deviation = model.predict(x)
    return mean, deviation


def _learnt(model: Any, x: np.ndarray) -> np.ndarray:
    return np.zeros(len(x)) if isinstance(model, float) else np.asarray(model.learnt(x))


def _predicted(models: Sequence[Any], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(means, deviations) of all objectives at x (n, d): (n, objectives) each."""
    means, deviations = zip(*(_predict(model, x) for model in models), strict=True)
    return np.stack(means, axis=1), np.stack(deviations, axis=1)


def _limits(x: np.ndarray, done: Sequence[FrozenTrial]) -> list[Any]:
    """A model of each constraint that all trials have; a constraint is met at 0 or below."""
    names = set.intersection(*(set(t.constraints) for t in done))
    return [_model(x, np.array([t.constraints[name] for t in done]), np.full(len(x), np.nan)) for name in sorted(names)]
