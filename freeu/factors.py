"""FreeU's four factors, with the two choices that give them their meaning: the version and the stage convention.

Published values: the authors' README, for version 2 by width. The method: Si et al., arXiv 2309.11497v2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from configs import quoted, unknown

from .controls import PLAIN, Controls, FactorsError, number

Version = Literal["v1", "v2"]
Stages = Literal["width", "block"]
VERSIONS: tuple[Version, ...] = ("v1", "v2")
CONVENTIONS: tuple[Stages, ...] = ("width", "block")


@dataclass(frozen=True)
class Factors:
    """The factors of one candidate; immutable and checked when made.

    Attributes:
        b1, b2: what half of the backbone's channels are multiplied by at stage 1 and 2; 1 leaves them alone.
        s1, s2: what the low frequencies of the skip features are multiplied by at stage 1 and 2; 1 leaves them alone.
        version: "v1" scales uniformly, "v2" by the position's normalised mean feature (arXiv v2, eq. 3 and 4).
        stages: how a stage is recognised: "width" (4C and 2C channels, as the authors) or "block" (the first and
            second decoder block, as diffusers' enable_freeu). The same numbers mean different things under the two.
        controls: what more the user interfaces let one set; by default nothing.

    Raises:
        FactorsError: a factor is no finite number from -1 to 10, or version or stages are unknown.
    """

    b1: float
    b2: float
    s1: float
    s2: float
    version: Version = "v2"
    stages: Stages = "width"
    controls: Controls = PLAIN

    def __post_init__(self) -> None:
        for name in ("b1", "b2", "s1", "s2"):
            object.__setattr__(self, name, number(name, getattr(self, name)))
        for name, known in (("version", VERSIONS), ("stages", CONVENTIONS)):
            if getattr(self, name) not in known:
                raise FactorsError(str(unknown(f"FreeU {name}", getattr(self, name), known)))
        if not isinstance(self.controls, Controls):
            raise FactorsError(f"controls are {quoted(self.controls)}: expected freeu.Controls")

    @property
    def identity(self) -> bool:
        """Whether these factors change nothing."""
        return all(self.of(stage) == (1, 1, 1) for stage in (1, 2, 3))

    def of(self, stage: int) -> tuple[float, float, float]:
        """(b, s, the high-end factor) of stage 1, 2 or 3."""
        c = self.controls
        b, s = ((self.b1, self.s1), (self.b2, self.s2), (c.b3, c.s3))[stage - 1]
        return b, s, c.of(stage, "high")

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, in plain types; `controls` only where something is set there."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["controls"] = self.controls.as_dict()
        return plain if plain["controls"] else {k: v for k, v in plain.items() if k != "controls"}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Factors:
        """The inverse of `as_dict`; a missing or unknown field is a FactorsError."""
        names = [field.name for field in fields(Factors)]
        if not isinstance(values, Mapping):
            raise FactorsError(f"factors are {quoted(values)}: expected a mapping by name")
        for name in values:
            if name not in names:
                raise FactorsError(str(unknown("field of factors", str(name), names)))
        missing = [name for name in names[:4] if name not in values]
        if missing:
            raise FactorsError(f"factors lack {', '.join(missing)}: give all of b1, b2, s1, s2")
        controls = Controls.from_dict(values.get("controls", {}))
        return Factors(**{**values, "controls": controls})

    def __str__(self) -> str:
        return f"b1 {self.b1:.2f}  b2 {self.b2:.2f}  s1 {self.s1:.2f}  s2 {self.s2:.2f}"


IDENTITY = Factors(1.0, 1.0, 1.0, 1.0)
"""The baseline."""

PUBLISHED: dict[str, Factors] = {
    "sd14": Factors(1.3, 1.4, 0.9, 0.2),
    "sd15": Factors(1.5, 1.6, 0.9, 0.2),
    "sd21": Factors(1.4, 1.6, 0.9, 0.2),
    "sdxl": Factors(1.3, 1.4, 0.9, 0.2),
}
"""The authors' README, for version 2 by width."""
