"""Sampling settings: what a diffusion run is told beside its prompt, its noise and FreeU's factors.

A setting that is None is left as the model, or the study, has it: so `Sampling()` changes nothing, and a candidate
names only what is its own. Names and meanings are diffusers' own, but for `clip_skip`, which counts as the web UI does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from configs import UserError, quoted, unknown

from .factors import Factors

MOST_STEPS = 1000
MOST_GUIDANCE = 100.0


class SamplingError(UserError, ValueError):
    """A sampling setting that no run can have."""


@dataclass(frozen=True)
class Sampling:
    """Immutable and checked when made.

    Attributes:
        guidance: the scale of classifier-free guidance, 0 to 100; 1 and less is none.
        guidance_rescale: how far the guided prediction is brought back to the spread of the unguided one, 0 to 1
            (Lin et al., arXiv 2305.08891, section 3.4).
        steps: of denoising, 1 to 1000.
        scheduler: its name; `freeu.schedulers` knows them.
        eta: how much noise DDIM and its like add in each step, 0 to 1.
        clip_skip: the text encoder's layer that is read, from its end: 1 is the last, 2 the one before it.
        negative_prompt: what guidance leads away from.
        size: (width, height) in pixels, multiples of 8.
        pag_scale: of perturbed-attention guidance, 0 to 100; 0 is none (Ahn et al., arXiv 2403.17377).

    Raises:
        SamplingError: a value out of its range, or of another kind.
    """

    guidance: float | None = None
    guidance_rescale: float | None = None
    steps: int | None = None
    scheduler: str | None = None
    eta: float | None = None
    clip_skip: int | None = None
    negative_prompt: str | None = None
    size: tuple[int, int] | None = None
    pag_scale: float | None = None

    def __post_init__(self) -> None:
        scales = (("guidance", MOST_GUIDANCE), ("pag_scale", MOST_GUIDANCE), ("guidance_rescale", 1.0), ("eta", 1.0))
        for name, high in scales:
            object.__setattr__(self, name, _number(name, getattr(self, name), high))
        for name, most in (("steps", MOST_STEPS), ("clip_skip", 100)):
            object.__setattr__(self, name, _count(name, getattr(self, name), most))
        for name in ("scheduler", "negative_prompt"):
            if not isinstance(getattr(self, name), str | None):
                raise SamplingError(f"{name} is {quoted(getattr(self, name))}: expected a text")
        object.__setattr__(self, "size", _size(self.size))

    def as_dict(self) -> dict[str, Any]:
        """What is set, by name, in plain types."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in found.items()
            if value is not None
        }

    @staticmethod
    def from_dict(values: Any) -> Sampling:
        """The inverse of `as_dict`; an unknown name is a SamplingError."""
        if not isinstance(values, Mapping):
            raise SamplingError(f"sampling settings are {quoted(values)}: expected a mapping by name")
        for name in values:
            if name not in NAMES:
                raise SamplingError(str(unknown("sampling setting", str(name), NAMES)))
        return Sampling(**values)

    def over(self, other: Sampling) -> Sampling:
        """These settings, and those of `other` where these are None."""
        return Sampling(**{**other.as_dict(), **self.as_dict()})


def size_of(text: str) -> tuple[int, int]:
    """(width, height) of "832x1216".

    Raises:
        SamplingError: it is written otherwise, or no image can have it.
    """
    found = re.fullmatch(r"\s*(\d{1,5})\s*[xX×*]\s*(\d{1,5})\s*", text)
    if found is None:
        raise SamplingError(f"size is {quoted(text)}: expected width and height in pixels, as 832x1216")
    size = _size([int(each) for each in found.groups()])
    assert size is not None
    return size


def sizes_of(found: Any) -> tuple[tuple[int, int], ...]:
    """One size or several, as texts or pairs of numbers: "832x1216", [832, 1216], ["832x1216", [1024, 1024]].

    Raises:
        SamplingError: one of them no image can have, or one is there twice.
    """
    several = isinstance(found, list | tuple) and all(isinstance(each, str | list | tuple) for each in found)
    sizes = [size_of(each) if isinstance(each, str) else _size(each) for each in (found if several else [found])]
    if not sizes or len(set(sizes)) < len(sizes):
        raise SamplingError(f"size is {quoted(found)}: give each size once, as 832x1216")
    return tuple(each for each in sizes if each is not None)


def dealt(sizes: Sequence[tuple[int, int]], seed: int) -> tuple[int, int]:
    """The size, of several, that the image with this seed gets."""
    return sizes[seed % len(sizes)]


def _number(name: str, value: Any, high: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
        raise SamplingError(f"{name} is {quoted(value)}: expected a number from 0 to {high:g}")
    return float(value)


def _count(name: str, value: Any, most: int) -> int | None:
    if value is None:
        return None
    whole = isinstance(value, float) and math.isfinite(value) and value.is_integer()
    if isinstance(value, bool) or not (isinstance(value, int) or whole) or not 1 <= value <= most:
        raise SamplingError(f"{name} is {quoted(value)}: expected a whole number from 1 to {most}")
    return int(value)


def _size(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    sides = tuple(value) if isinstance(value, list | tuple) else ()
    fits = all(isinstance(each, int) and not isinstance(each, bool) and 8 <= each <= 8192 for each in sides)
    if len(sides) != 2 or not fits or any(each % 8 for each in sides):
        raise SamplingError(f"size is {quoted(value)}: expected width and height in pixels, multiples of 8 up to 8192")
    return sides[0], sides[1]


NAMES = tuple(field.name for field in fields(Sampling))
UNCHANGED = Sampling()


@dataclass(frozen=True)
class Candidate:
    """What a trial tries and a preset carries: factors, and the sampling settings that are not the study's."""

    factors: Factors
    sampling: Sampling = UNCHANGED

    def as_dict(self) -> dict[str, Any]:
        """The factors by name; `sampling` only where something is set there."""
        sampling = self.sampling.as_dict()
        return self.factors.as_dict() | ({"sampling": sampling} if sampling else {})

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Candidate:
        """The inverse of `as_dict`. Raises FactorsError and SamplingError."""
        factors = {name: value for name, value in values.items() if name != "sampling"}
        return Candidate(Factors.from_dict(factors), Sampling.from_dict(values.get("sampling", {})))

    @property
    def off(self) -> bool:
        """Whether FreeU is off: the baseline, or one under other sampling settings."""
        return self.factors.identity

    @property
    def baseline(self) -> bool:
        """Whether it is FreeU off under the study's own sampling settings."""
        return self.off and self.sampling == UNCHANGED

    def __str__(self) -> str:
        factors = "FreeU off" if self.off and not self.baseline else str(self.factors)
        return "  ".join([factors, *(f"{name} {value}" for name, value in self.sampling.as_dict().items())])
