"""Where candidates come from: the dimensions that are searched, as Optuna's distributions, and the Factors they make.

By default four numbers, in ranges that hold every published setting with room on both sides. A YAML (`--space`) narrows
or fixes them, and adds what else can be set of FreeU:

    b1: [1.0, 1.5]                      # a range
    s1: 0.9                             # fixed
    s2: {low: 0.01, high: 1, log: true}
    b2: {low: 1, high: 1.6, step: 0.1}
    version: [v1, v2]                   # a choice
    stop: {low: 0.3, high: 1, when: {version: v2}}   # searched only where another dimension has this value
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import UserError, quoted, read_yaml, unknown
from freeu import IDENTITY, Controls, Factors

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

Choice = float | int | str
NUMBERS = ("b1", "b2", "s1", "s2")
CHOICES: dict[str, tuple[str, ...]] = {"version": ("v1", "v2"), "stages": ("width", "block")}
CONTROLS = ("start", "stop", "smooth", "offset", "width", "threshold", "high", "b3", "s3")
WHOLE = ("threshold",)
DEFAULT: dict[str, Any] = {"b1": [0.8, 1.8], "b2": [0.8, 1.8], "s1": [0.0, 1.2], "s2": [0.0, 1.2]}
GRID_LEVELS = 3
SOBOL = 6
"""Points before the sampler: with the fixed candidates, enough for a first model of four factors."""


@dataclass(frozen=True)
class Dimension:
    """One that is searched: a range of numbers, or a choice. when: values that other dimensions have to have."""

    name: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    step: float | None = None
    choices: tuple[str, ...] = ()
    when: Mapping[str, Choice] = field(default_factory=dict)

    @property
    def distribution(self) -> BaseDistribution:
        """As Optuna has it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.name in WHOLE:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: Trial) -> Choice:
        """What the trial's sampler proposes."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if self.name in WHOLE:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return trial.suggest_float(self.name, self.low, self.high, log=self.log, step=self.step)

    def holds(self, value: Choice) -> bool:
        """Whether a value is one of it; a range's steps don't count, since what is between them can be tried too."""
        return value in self.choices if self.choices else self.low <= float(value) <= self.high

    def nearest(self, value: Choice) -> Choice:
        """The value of it that is nearest to one outside; the first of choices."""
        return self.choices[0] if self.choices else min(max(float(value), self.low), self.high)

    def at(self, share: float) -> Choice:
        """The value at a share of the range, from 0 to 1."""
        if self.choices:
            return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]
        value = self.low * (self.high / self.low) ** share if self.log else self.low + (self.high - self.low) * share
        if self.step:
            value = min(self.low + round((value - self.low) / self.step) * self.step, self.high)
        return round(value) if self.name in WHOLE else float(value)

    def unit(self, value: Choice) -> float:
        """The inverse of `at` for ranges; a choice's place among the others."""
        import math

        if self.choices:
            return self.choices.index(str(value)) / max(1, len(self.choices) - 1) if value in self.choices else 0.5
        low, high, x = self.low, self.high, float(value)
        if self.log:
            low, high, x = math.log(low), math.log(high), math.log(max(x, 1e-6))
        return (x - low) / (high - low)


@dataclass(frozen=True)
class Space:
    """The dimensions that are searched, and the values of those that are not."""

    dimensions: tuple[Dimension, ...]
    fixed: Mapping[str, Choice] = field(default_factory=dict)

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

    def factors(self, params: Mapping[str, Choice]) -> Factors:
        """What a candidate's values make. Raises FactorsError where they make none, as a start behind the stop."""
        values: dict[str, Any] = {**{name: 1.0 for name in NUMBERS}, **self.fixed, **params}
        controls = {name: values.pop(name) for name in CONTROLS if name in values}
        return Factors(**values, controls=Controls(**controls))

    def params(self, factors: Factors) -> dict[str, Choice]:
        """The values of the dimensions; the nearest ones where the factors lie outside."""
        params: dict[str, Choice] = {}
        for dimension in self.dimensions:
            if not self._in_force(dimension, params):
                continue
            value = value_of(factors, dimension.name)
            if not dimension.holds(value):
                value = dimension.nearest(value)
            params[dimension.name] = round(float(value)) if dimension.name in WHOLE else value
        return params

    def holds(self, factors: Factors) -> bool:
        """Whether the search could have proposed these."""
        return self.factors(self.params(factors)) == factors

    def unit(self, factors: Factors) -> list[float]:
        """The dimensions scaled so that ranges become 0 to 1; factors outside of the space lie outside of that."""
        return [dimension.unit(value_of(factors, dimension.name)) for dimension in self.dimensions]

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

    def _in_force(self, dimension: Dimension, params: Mapping[str, Choice]) -> bool:
        known = {**self.fixed, **params}
        return all(known.get(name) == value for name, value in dimension.when.items())


def value_of(factors: Factors, name: str) -> Any:
    """A number, choice or control of the factors; of a control by stage the first stage's."""
    return factors.controls.of(1, name) if name in CONTROLS else getattr(factors, name)


def default(version: str = "v2", stages: str = "width") -> Space:
    """The four numbers, in wide ranges."""
    return _made({**DEFAULT, "version": version, "stages": stages}, "the default space")


def load(file: Path, version: str, stages: str) -> Space:
    """The space of a YAML; numbers that it doesn't name have their default ranges.

    Raises:
        UserError: an unknown name (with the nearest), or a range, choice or condition that can't be.
    """
    return _made({**DEFAULT, "version": version, "stages": stages, **read_yaml(file)}, str(file))


def _made(found: Mapping[str, Any], where: str) -> Space:
    known = (*NUMBERS, *CHOICES, *CONTROLS)
    dimensions: list[Dimension] = []
    fixed: dict[str, Choice] = {}
    for name, given in found.items():
        if name not in known:
            raise UserError(f"{where}: {unknown('dimension', str(name), known)}")
        if isinstance(given, list | dict):
            dimensions.append(_dimension(name, given, where))
        else:
            fixed[name] = given
    # What a condition names is chosen first.
    dimensions.sort(key=lambda each: bool(each.when))
    space = Space(tuple(dimensions), fixed)
    _check(space, where)
    return space


def _dimension(name: str, given: Any, where: str) -> Dimension:
    if name in CHOICES:
        choices = given if isinstance(given, list) else given.get("choices")
        known = CHOICES[name]
        if not isinstance(choices, list) or any(each not in known for each in choices) or len(set(choices)) < 2:
            raise UserError(f"{where}: {name} is {quoted(given)}: expected two or more of {', '.join(known)}")
        return Dimension(name, choices=tuple(choices), when=_when(given, name, where))
    more = dict(given) if isinstance(given, dict) else {}
    low, high = (more.pop("low", None), more.pop("high", None)) if more else given if len(given) == 2 else (None, None)
    log, step = more.pop("log", False), more.pop("step", None)
    when = _when(more, name, where)
    more.pop("when", None)
    numbers = [each for each in (low, high, step) if each is not None]
    sound = all(isinstance(each, int | float) and not isinstance(each, bool) for each in numbers)
    if low is None or high is None or not sound or more or not isinstance(log, bool):
        raise UserError(f"{where}: {name} is {quoted(given)}: expected [low, high], or low, high and log, step or when")
    if not low < high:
        raise UserError(f"{where}: {name} goes from {low} to {high}: the lower end has to be the smaller")
    if (log and (low <= 0 or step)) or (step is not None and not 0 < step <= high - low):
        raise UserError(
            f"{where}: {name} is {quoted(given)}: a log range begins above 0 and has no step, a step fits into it"
        )
    if name in WHOLE and any(each != int(each) for each in numbers):
        raise UserError(f"{where}: {name} is {quoted(given)}: its ends and its step are whole numbers")
    return Dimension(name, float(low), float(high), log, None if step is None else float(step), when=when)


def _when(given: Any, name: str, where: str) -> Mapping[str, Choice]:
    when = given.get("when", {}) if isinstance(given, dict) else {}
    if not isinstance(when, dict) or not set(when) <= {*CHOICES, *NUMBERS, *CONTROLS} - {name}:
        raise UserError(f"{where}: {name}: when is {quoted(when)}: expected another dimension and its value")
    return when


def _check(space: Space, where: str) -> None:
    """Raises UserError where nothing is left to search, or the ends of the ranges make no factors."""
    if not space.dimensions:
        raise UserError(f"{where} fixes everything: leave a range to search")
    for each in space.dimensions:
        for name, value in each.when.items():
            if not _can_be(space, name, value):
                raise UserError(
                    f"{where}: {each.name} is searched when {name} is {value!r}, which it never is: give a value that "
                    f"{name} can have"
                )
    latest, earliest = (_end(space, name, high, where) for name, high in (("start", True), ("stop", False)))
    if latest >= earliest:
        raise UserError(
            f"{where}: start goes up to {latest:g} and stop begins at {earliest:g}: every start has to come "
            "before every stop"
        )
    for each in space.dimensions:
        ends = each.choices or (each.low, each.high)
        for end in ends:
            try:
                space.factors({**{other.name: other.at(0.5) for other in space.dimensions}, each.name: end})
            except UserError as error:
                raise UserError(f"{where}: {each.name} at {end}: {error}") from error


def _end(space: Space, name: str, high: bool, where: str) -> float:
    """The upper or lower end of a control of the schedule."""
    for each in space.dimensions:
        if each.name == name:
            return each.high if high else each.low
    value = space.fixed.get(name, getattr(Controls(), name))
    if isinstance(value, bool | str) or value is None:
        raise UserError(f"{where}: {name} is {quoted(value)}: expected a number")
    return float(value)


def _can_be(space: Space, name: str, value: Any) -> bool:
    """Whether a dimension, or what is fixed, can have a value."""
    for each in space.dimensions:
        if each.name == name:
            return value in each.choices if each.choices else isinstance(value, int | float) and each.holds(value)
    return bool(space.fixed.get(name) == value)


def without_freeu(space: Space) -> Factors:
    """No FreeU, under the version and convention that are fixed."""
    return replace(IDENTITY, **_same(space))


def _same(space: Space) -> dict[str, Any]:
    return {name: space.fixed[name] for name in CHOICES if name in space.fixed}


def warm(factors: Sequence[Factors], space: Space) -> list[Factors]:
    """Those that the space holds, each once, brought under its fixed version and convention."""
    here = [replace(each, **_same(space)) for each in factors]
    return list(dict.fromkeys(each for each in here if space.holds(each)))
