"""One dimension of a search space: a range of numbers or a choice, as Optuna's distribution and scaled to 0..1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

Choice = float | int | str
NUMBERS = ("b1", "b2", "s1", "s2")
CHOICES: dict[str, tuple[str, ...]] = {"version": ("v1", "v2"), "stages": ("width", "block")}
CONTROLS = ("start", "stop", "smooth", "offset", "width", "threshold", "high", "b3", "s3")
SAMPLING = ("guidance", "guidance_rescale", "pag_scale", "steps", "scheduler", "eta", "clip_skip")
"""Of `freeu.Sampling`, what can be searched: what differs between images of one size under one prompt."""
WHOLE = ("threshold", "steps", "clip_skip")


@dataclass(frozen=True)
class Dimension:
    """A dimension to search: a range of numbers, or a choice. when: values that other dimensions must have for it."""

    name: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    step: float | None = None
    choices: tuple[str, ...] = ()
    when: Mapping[str, Choice] = field(default_factory=dict)

    @property
    def distribution(self) -> BaseDistribution:
        """The dimension as Optuna's distribution."""
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
        """Whether a value lies in the dimension. A range's steps don't matter: values between them count, too."""
        return value in self.choices if self.choices else self.low <= float(value) <= self.high

    def nearest(self, value: Choice) -> Choice:
        """The nearest value that lies in the dimension; for a choice, its first."""
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
        """The inverse of `at`; for a choice, its index."""
        import math

        if self.choices:
            return self.choices.index(str(value)) / max(1, len(self.choices) - 1) if value in self.choices else 0.5
        low, high, x = self.low, self.high, float(value)
        if self.log:
            low, high, x = math.log(low), math.log(high), math.log(max(x, 1e-6))
        return (x - low) / (high - low)
