"""What the user interfaces of FreeU let one set beside its four factors: when, on which channels, on which frequencies.

Each is off by default. The schedule's weight, the window and the high-end factor mean what they mean in the web UI's
FreeU extension, where they come from, so that its presets carry over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from configs import UserError, quoted, unknown

LOWEST, HIGHEST = -1.0, 10.0
"""The widest range of factors that any tool with FreeU accepts (the web UI from -1, ComfyUI to 10)."""

PerStage = float | tuple[float, float, float]


class FactorsError(UserError, ValueError):
    """A factor, version, stage convention or control that FreeU can't be run with."""


@dataclass(frozen=True)
class Controls:
    """Immutable and checked when made. `PerStage` values are one number for all stages, or one for each of the three.

    Attributes:
        start, stop: FreeU acts from `start` to before `stop`, in fractions of the denoising run, 0 to 1, rounded down
            to whole steps.
        smooth: 0 switches it at once. 1 ramps it: up from the run's beginning to `start`, and from there down to
            `stop`. Between, the two are mixed.
        offset, width: which of the backbone's channels are amplified, as fractions of them: from `offset`, `width` of
            them, round the end if need be. 0 and 0.5 are the paper's first half.
        threshold: half the width of the filter's box, in frequencies; 1 in the paper.
        high: what the skip's frequencies outside of the box are multiplied by.
        b3, s3: the factors of a third stage, C channels wide (by block, the third decoder block).
        symmetric: the filter treats a mirrored image as the image: the box's corner frequencies count by their mean
            over reflections. The paper's box is lopsided.

    Raises:
        FactorsError: a value out of its range, or no finite number.
    """

    start: float = 0.0
    stop: float = 1.0
    smooth: float = 0.0
    offset: PerStage = 0.0
    width: PerStage = 0.5
    threshold: PerStage = 1
    high: PerStage = 1.0
    b3: float = 1.0
    s3: float = 1.0
    symmetric: bool = False

    def __post_init__(self) -> None:
        for name in ("start", "stop", "smooth"):
            object.__setattr__(self, name, number(name, getattr(self, name), 0, 1))
        if self.start >= self.stop:
            raise FactorsError(f"start is {self.start:g} and stop {self.stop:g}: start has to come first")
        for name in ("b3", "s3"):
            object.__setattr__(self, name, number(name, getattr(self, name)))
        for name, low, high in (("offset", 0, 1), ("width", 0, 1), ("threshold", 1, 1024), ("high", LOWEST, HIGHEST)):
            object.__setattr__(self, name, _per_stage(name, getattr(self, name), low, high))
        if not isinstance(self.symmetric, bool):
            raise FactorsError(f"symmetric is {quoted(self.symmetric)}: true or false")

    def of(self, stage: int, name: str) -> float:
        """The value of a `PerStage` control at stage 1, 2 or 3."""
        value = getattr(self, name)
        return value[stage - 1] if isinstance(value, tuple) else value

    @property
    def scheduled(self) -> bool:
        """Whether FreeU's strength changes in the course of a denoising run."""
        return (self.start, self.stop, self.smooth) != (0, 1, 0)

    def as_dict(self) -> dict[str, Any]:
        """What differs from the default, by name, in plain types."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if self._set(field.name)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def _set(self, name: str) -> bool:
        return getattr(self, name) != getattr(PLAIN, name)

    @staticmethod
    def from_dict(values: Any) -> Controls:
        """The inverse of `as_dict`; an unknown name is a FactorsError."""
        if not isinstance(values, Mapping):
            raise FactorsError(f"controls are {quoted(values)}: expected a mapping by name")
        names = [field.name for field in fields(Controls)]
        for name in values:
            if name not in names:
                raise FactorsError(str(unknown("control", name, names)))
        return Controls(**values)


def number(name: str, value: Any, low: float = LOWEST, high: float = HIGHEST) -> float:
    """`value` as a float, or a FactorsError that names it."""
    if isinstance(value, bool | str | bytes):
        raise FactorsError(f"{name} is {quoted(value)}: expected a number")
    try:
        found = float(value)
    except (TypeError, ValueError) as error:
        raise FactorsError(f"{name} is {quoted(value)}: expected a number") from error
    if not math.isfinite(found) or not low <= found <= high:
        raise FactorsError(f"{name} is {found}: it lies between {low:g} and {high:g}")
    return found


def _per_stage(name: str, value: Any, low: float, high: float) -> PerStage:
    values = list(value) if isinstance(value, list | tuple) else [value] * 3
    if len(values) != 3:
        raise FactorsError(f"{name} is {quoted(value)}: one number, or three, one for each stage")
    values = [number(name, each, low, high) for each in values]
    if name == "threshold":
        if any(each != int(each) for each in values):
            raise FactorsError(f"threshold is {quoted(value)}: a whole number of frequencies")
        values = [int(each) for each in values]
    first, second, third = values
    return first if first == second == third else (first, second, third)


PLAIN = Controls()
"""The paper's method, with nothing beside the four factors."""
