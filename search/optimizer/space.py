"""The search space: the dimensions to search, the fixed values, and the candidates that they make together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from freeu import IDENTITY, Candidate, Controls, Factors, Sampling
from freeu.sampling import UNCHANGED
from freeu.schedulers import DEFAULT, takes_eta, usual_eta
from search.optimizer.dimension import CHOICES, CONTROLS, NUMBERS, SAMPLING, WHOLE, Choice, Dimension

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

GRID_LEVELS = 3
SOBOL = 6
"""Points before the sampler: with the fixed candidates, enough for a first model of four factors."""


@dataclass(frozen=True)
class Space:
    """The dimensions that are searched, and the values of those that are not.

    own: the study's sampling settings. A candidate names those alone that it has otherwise.
    """

    dimensions: tuple[Dimension, ...]
    fixed: Mapping[str, Choice] = field(default_factory=dict)
    own: Sampling = UNCHANGED

    def suggest(self, trial: Trial) -> dict[str, Choice]:
        """The candidate of a trial, one value for each dimension that is in force."""
        params: dict[str, Choice] = {}
        for dimension in self.dimensions:
            if self._in_force(dimension, params):
                params[dimension.name] = dimension.suggest(trial)
        return params

    def needed(self, params: Mapping[str, Choice]) -> set[str]:
        """The names of the dimensions that are in force under these values."""
        return {each.name for each in self.dimensions if self._in_force(each, params)}

    def distributions(self) -> dict[str, BaseDistribution]:
        """Of all dimensions."""
        return {dimension.name: dimension.distribution for dimension in self.dimensions}

    def candidate(self, params: Mapping[str, Choice]) -> Candidate:
        """What some values are together. Raises FactorsError if they are invalid, as a start after the stop."""
        values: dict[str, Any] = {**{name: 1.0 for name in NUMBERS}, **self.fixed, **params}
        controls = {name: values.pop(name) for name in CONTROLS if name in values}
        sampling = {name: values.pop(name) for name in SAMPLING if name in values}
        other = {name: value for name, value in sampling.items() if value != self._own(name, sampling)}
        return Candidate(Factors(**values, controls=Controls(**controls)), Sampling(**other))

    def value_of(self, candidate: Candidate, name: str) -> Any:
        """A number, choice, control or sampling setting of a candidate; of a control by stage the first stage's."""
        if name in SAMPLING:
            sampling = candidate.sampling.over(self.own)
            value = getattr(sampling, name)
            return _usual(name, sampling) if value is None else value
        factors = candidate.factors
        return factors.controls.of(1, name) if name in CONTROLS else getattr(factors, name)

    def settings(self, candidate: Candidate) -> dict[str, Any]:
        """All sampling settings of a candidate, by name."""
        return candidate.sampling.over(self.own).as_dict()

    def searched(self, sampling: Sampling) -> Sampling:
        """Of some settings those that are searched, and not as the study has them."""
        names = {each.name for each in self.dimensions}
        given = sampling.as_dict()
        kept = {name: value for name, value in given.items() if name in names}
        return Sampling(**{name: value for name, value in kept.items() if value != self._own(name, given)})

    def params(self, candidate: Candidate) -> dict[str, Choice]:
        """The values of the dimensions; the nearest ones where the candidate lies outside."""
        params: dict[str, Choice] = {}
        for dimension in self.dimensions:
            if not self._in_force(dimension, params):
                continue
            value = self.value_of(candidate, dimension.name)
            if not dimension.holds(value):
                value = dimension.nearest(value)
            params[dimension.name] = round(float(value)) if dimension.name in WHOLE else value
        return params

    def off_params(self) -> dict[str, Choice] | None:
        """The values of FreeU off in all dimensions but the sampling settings; None where none of those is searched, or
        FreeU off lies outside of the space."""
        params = self.params(off(self))
        if not any(each.name in SAMPLING for each in self.dimensions) or not self.candidate(params).off:
            return None
        return {name: value for name, value in params.items() if name not in SAMPLING}

    def holds(self, candidate: Candidate) -> bool:
        """Whether the search could have proposed it."""
        return self.candidate(self.params(candidate)) == candidate

    def unit(self, candidate: Candidate) -> list[float]:
        """The dimensions scaled so that ranges become 0 to 1; a candidate outside of the space lies outside of that."""
        return [dimension.unit(self.value_of(candidate, dimension.name)) for dimension in self.dimensions]

    def sobol(self, n: int, seed: int) -> list[dict[str, Choice]]:
        """n scrambled Sobol points (Owen 1998), the same for the same seed; more only adds to them."""
        from scipy.stats import qmc

        if n <= 0 or not self.dimensions:
            return []
        points = qmc.Sobol(d=len(self.dimensions), scramble=True, rng=seed).random_base2((n - 1).bit_length())[:n]
        found = []
        for point in points:
            params: dict[str, Choice] = {}
            for share, dimension in zip(point, self.dimensions, strict=True):
                if self._in_force(dimension, params):
                    params[dimension.name] = dimension.at(float(share))
            found.append(params)
        return found

    def grid(self) -> dict[str, list[Choice]]:
        """A few values of each dimension."""
        shares = [level / (GRID_LEVELS - 1) for level in range(GRID_LEVELS)]
        return {
            each.name: list(each.choices) or sorted({each.at(share) for share in shares}) for each in self.dimensions
        }

    def as_dict(self) -> dict[str, Any]:
        """For a fingerprint and a table."""
        searched: dict[str, Any] = {
            each.name: list(each.choices)
            or {"low": each.low, "high": each.high, "log": each.log, "step": each.step, "when": dict(each.when)}
            for each in self.dimensions
        }
        return {**searched, **self.fixed}

    def _own(self, name: str, beside: Mapping[str, Any]) -> Any:
        """What a sampling setting is where a candidate doesn't name it. beside: the settings that it names."""
        value = getattr(self.own, name)
        scheduler = beside.get("scheduler", self.own.scheduler)
        return _usual(name, Sampling(scheduler=scheduler)) if value is None else value

    def _in_force(self, dimension: Dimension, params: Mapping[str, Choice]) -> bool:
        known = {**self.fixed, **params}
        if dimension.name == "eta" and not takes_eta(str(known.get("scheduler", self.own.scheduler or DEFAULT))):
            return False
        return all(known.get(name) == value for name, value in dimension.when.items())


def _usual(name: str, sampling: Sampling) -> Any:
    """What a setting is that a study leaves to the model: the text encoder's last layer, the scheduler's own noise."""
    return {"clip_skip": 1, "eta": usual_eta(sampling.scheduler or DEFAULT)}.get(name)


def off(space: Space, sampling: Sampling = UNCHANGED) -> Candidate:
    """FreeU off, under the version and convention that are fixed: the baseline, where no other sampling is given."""
    return Candidate(replace(IDENTITY, **_same(space)), sampling)


def _same(space: Space) -> dict[str, Any]:
    return {name: space.fixed[name] for name in CHOICES if name in space.fixed}


def warm(candidates: Sequence[Candidate], space: Space) -> list[Candidate]:
    """Those that lie in the space, without duplicates, under its fixed version and convention, and under the study's
    own sampling settings where these are not searched."""
    here = [Candidate(replace(each.factors, **_same(space)), space.searched(each.sampling)) for each in candidates]
    return list(dict.fromkeys(each for each in here if space.holds(each)))
