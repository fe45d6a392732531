"""Samplers by name: who proposes the candidates after the fixed ones and the Sobol points.

On noisy toys with four factors and three objectives Optuna's Gaussian process reached the best front within 64
trials, then multivariate TPE; NSGA-II is random search for its first population (docs: the search guide).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from configs import UserError, unknown

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.study import Study

    from search.optimizer.space import Space

FEW = 6  # complete trials before a model is trusted; the fixed candidates and Sobol points are more than that


def _gp(seed: int) -> BaseSampler:
    from search.optimizer.acquisition import FrontSampler

    return FrontSampler(seed)


def _tpe(seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=FEW)


def _nsga2(seed: int) -> BaseSampler:
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=12)  # the default of 50 would be 50 random trials first


def _nsga3(seed: int) -> BaseSampler:
    from optuna.samplers import NSGAIIISampler

    return NSGAIIISampler(seed=seed, population_size=12)


def _botorch(seed: int) -> BaseSampler:
    try:
        from optuna_integration import BoTorchSampler
    except ImportError as error:
        raise UserError(
            f'--sampler botorch needs more packages: pip install "optuna-integration[botorch]" ({error})'
        ) from error
    from optuna.samplers import RandomSampler

    return BoTorchSampler(seed=seed, independent_sampler=RandomSampler(seed), n_startup_trials=FEW)


def _random(seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _seeded(make: Callable[[int], BaseSampler]) -> Callable[[int, int, Space], BaseSampler]:
    """A sampler that needs a seed alone. With the study's own it would propose its first points again after a resume,
    so its seed depends on the place."""
    return lambda seed, place, space: make(derived(seed, "sampler", place))


def _grid(seed: int, place: int, space: Space) -> BaseSampler:
    from optuna.samplers import GridSampler

    class Grid(GridSampler):
        def after_trial(self, *given: Any) -> None:
            """Nothing: Optuna's would stop its own loop, which there is none of. See `exhausted`."""

    return Grid(space.grid(), seed=derived(seed, "sampler"))


def _qmc(seed: int, place: int, space: Space) -> BaseSampler:
    """Optuna's own counts in the study how often it was asked, so a restart would skip points."""
    from optuna.samplers import RandomSampler

    class Sobol(RandomSampler):
        def infer_relative_search_space(self, *given: Any) -> dict[str, BaseDistribution]:
            return space.distributions()

        def sample_relative(self, *given: Any) -> dict[str, Any]:
            return dict(space.sobol(place + 1, derived(seed, "sampler"))[place])

    return Sobol()


SAMPLERS: dict[str, Callable[[int, int, Space], BaseSampler]] = {
    "gp": _seeded(_gp),
    "tpe": _seeded(_tpe),
    "nsga2": _seeded(_nsga2),
    "nsga3": _seeded(_nsga3),
    "botorch": _seeded(_botorch),
    "random": _seeded(_random),
    "qmc": _qmc,
    "grid": _grid,
}
"""Each from the study's seed, the candidate's place in the study, counted from 0, and the space."""


def check(name: str) -> str:
    """Return the name. Raises UserError, with the nearest name, if it is unknown. Imports nothing heavy."""
    if name not in SAMPLERS:
        raise unknown("sampler", name, SAMPLERS)
    return name


def build(name: str, seed: int, place: int, space: Space) -> BaseSampler:
    """A sampler for the candidate at a place in the study, counted from 0."""
    return SAMPLERS[check(name)](seed, place, space)


def exhausted(name: str, study: Study, space: Space) -> bool:
    """Whether the sampler has nothing left to propose, as a grid with every cell tried."""
    return name == "grid" and build(name, 0, 0, space).is_exhausted(study)  # type: ignore[attr-defined]


def derived(seed: int, *purpose: str | int) -> int:
    """Another seed (32 bits) for another purpose."""
    text = ":".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
