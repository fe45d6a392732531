"""What `freeu.applied` is asked for, as values and as the structure that the values fill."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .controls import Controls
from .factors import Factors, FactorsError
from .presets import Preset, read
from .presets.sampled import in_words

Choice = Factors | Preset | Path | str


@dataclass(frozen=True, eq=False)
class Setting:
    """One or more candidates that share their structure.

    Attributes:
        candidates: sample i of a batch gets the one at i modulo their number.
        scheduler: tells the step of a schedule; None where the timestep has to.
        live: keep every site's arithmetic, also where a factor is 1, so that it can change without recompiling.
    """

    candidates: tuple[Factors, ...]
    scheduler: Any = None
    live: bool = False

    @staticmethod
    def of(chosen: Choice | Sequence[Choice], scheduler: Any = None, live: bool = False) -> Setting:
        """Reads presets, and checks that the candidates can share one forward pass.

        Raises:
            FactorsError: no candidates, or their version, stages or one of the controls that are not factors differ.
        """
        several: Sequence[Any] = chosen if isinstance(chosen, list | tuple) else [chosen]
        candidates = tuple(_factors(each) for each in several)
        if not candidates:
            raise FactorsError("no factors given: a list has to have at least one")
        first = candidates[0]
        for other in candidates[1:]:
            if _shared(other) != _shared(first):
                raise FactorsError(
                    f"factors of one batch differ in more than their numbers, {other.as_dict()} from "
                    f"{first.as_dict()}: version, stages, schedule, window, threshold and symmetry are common to all"
                )
        return Setting(candidates, scheduler, live)

    @property
    def factors(self) -> Factors:
        """The first candidate: its version, stages and controls are everyone's."""
        return self.candidates[0]

    def within(self, other: Setting) -> Setting:
        """The same; where FreeU is off in all candidates in the other's structure, which has a value for that."""
        if len(self.candidates) > 1 or any(value != 1 for stage in (1, 2, 3) for value in self.factors.of(stage)):
            return self
        controls = replace(other.factors.controls, high=1.0, b3=1.0, s3=1.0)
        neutral = replace(other.factors, b1=1.0, b2=1.0, s1=1.0, s2=1.0, controls=controls)
        return replace(self, candidates=(neutral,), scheduler=other.scheduler)

    def stages_touched(self) -> set[int]:
        """Those that any candidate changes."""
        return {stage for stage in (1, 2, 3) if any(self.acts(stage))}

    @property
    def structure(self) -> tuple[Any, ...]:
        """Two settings of equal structure differ in their values alone."""
        acts = tuple(self.acts(stage) for stage in (1, 2, 3))
        scheduler = id(self.scheduler) if self.factors.controls.scheduled else None
        return _shared(self.factors), len(self.candidates), acts, scheduler

    def acts(self, stage: int) -> tuple[bool, bool, bool]:
        """Whether the backbone, the low and the high frequencies of a stage are changed by any candidate."""
        values = [factors.of(stage) for factors in self.candidates]
        backbone, low, high = (any(each[i] != 1 for each in values) for i in range(3))
        paper = self.live and stage != 3
        return backbone or paper, low or high or paper, high

    def table(self, dtype: torch.dtype) -> torch.Tensor:
        """(3 stages, 3 factors: b, s, high; candidates)."""
        values = [[factors.of(stage) for factors in self.candidates] for stage in (1, 2, 3)]
        return torch.tensor(values, dtype=dtype).transpose(1, 2)


def _shared(factors: Factors) -> tuple[Any, ...]:
    c: Controls = factors.controls
    return factors.version, factors.stages, c.start, c.stop, c.smooth, c.offset, c.width, c.threshold, c.symmetric


def _factors(chosen: Any) -> Factors:
    if isinstance(chosen, Factors):
        return chosen
    if isinstance(chosen, str | Path):
        chosen = read(chosen)
    if isinstance(chosen, Preset):
        if found := in_words(chosen.sampling):
            # Python shows a warning once for each text.
            warnings.warn(f"these FreeU factors were found at {found}: the pipeline's own are kept", stacklevel=2)
        return chosen.factors
    raise FactorsError(f"factors are {chosen!r}: expected freeu.Factors, a preset, a preset's file, or a list of them")
