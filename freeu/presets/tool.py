"""What a tool can honour of a preset; what it can't is refused with the reason and the nearest that can be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from freeu.controls import HIGHEST, LOWEST
from freeu.factors import CONVENTIONS, VERSIONS, Factors, Stages, Version

from .preset import Preset, PresetError

OURS = 'in Python, use --format yaml and freeu.enable(pipe, "FILE")'
NUMBERS = ("b1", "b2", "s1", "s2")


@dataclass(frozen=True)
class Tool:
    """A tool with FreeU. b, s: the ranges that it takes; zero: whether a factor of 0 is a number there.

    controls: those of freeu.Controls that it has.
    """

    name: str
    versions: tuple[Version, ...] = VERSIONS
    stages: tuple[Stages, ...] = CONVENTIONS
    controls: tuple[str, ...] = ()
    b: tuple[float, float] = (LOWEST, HIGHEST)
    s: tuple[float, float] = (LOWEST, HIGHEST)
    zero: bool = True

    def check(self, factors: Factors) -> None:
        """Raises PresetError where the tool would make another method of these factors."""
        f = factors
        if f.version not in self.versions or f.stages not in self.stages:
            search = f"--version {self.versions[0]} " if len(self.versions) == 1 else ""
            search += f"--stages {self.stages[0]}" if len(self.stages) == 1 else ""
            raise PresetError(
                f"{self.name} is version {' or '.join(self.versions)} with stages by {' or '.join(self.stages)}, and "
                f"this preset is {f.version} by {f.stages}: the same numbers would be another method there. "
                f"Search for it with {search.strip()}; {OURS}"
            )
        more = [name for name in f.controls.as_dict() if name not in self.controls]
        if more:
            had = f"the four factors and {', '.join(self.controls)}" if self.controls else "the four factors alone"
            raise PresetError(
                f"{self.name} has {had}, and this preset sets {', '.join(more)} besides: choose another pick; {OURS}"
            )
        numbers = {name: getattr(f, name) for name in NUMBERS}
        numbers |= {name: getattr(f.controls, name) for name in ("b3", "s3") if name in self.controls}
        if "high" in self.controls:
            numbers |= {f"s{stage}'s high": f.controls.of(stage, "high") for stage in (1, 2, 3)}
        outside = []
        for name, value in numbers.items():
            low, high = self.b if name.startswith("b") else self.s
            if not low <= value <= high:
                outside.append(f"{name} = {value:g}")
        if outside:
            raise PresetError(
                f"{self.name} takes b from {self.b[0]:g} to {self.b[1]:g} and s from {self.s[0]:g} to {self.s[1]:g}, "
                f"and this preset has {', '.join(outside)}: choose another pick; {OURS}"
            )
        zero = [name for name in NUMBERS if numbers[name] == 0]
        if zero and not self.zero:
            raise PresetError(
                f"{self.name} switches FreeU off when a factor is 0, as {', '.join(zero)} of this preset: choose a "
                f"pick without a 0; {OURS}"
            )


def numbers(preset: Preset, prefix: str = "") -> dict[str, float]:
    """b1, b2, s1, s2 by name."""
    return {prefix + name: getattr(preset.factors, name) for name in NUMBERS}


def found(values: Mapping[str, Any], version: Version, stages: Stages, model: str = "", **controls: Any) -> Preset:
    """The preset that a tool's four numbers make. Raises FactorsError where they make none."""
    kept = {name: values[name] for name in NUMBERS if name in values}
    return Preset(Factors.from_dict({**kept, "version": version, "stages": stages, "controls": controls}), model)
