"""FreeU's four factors, with the two choices that give them their meaning: the version and the stage convention.

Published values: the authors' README, for version 2 by width. The method: Si et al., arXiv 2309.11497v2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from configs import UserError, unknown

Version = Literal["v1", "v2"]
Stages = Literal["width", "block"]
VERSIONS: tuple[Version, ...] = ("v1", "v2")
CONVENTIONS: tuple[Stages, ...] = ("width", "block")
LOWEST, HIGHEST = -1.0, 10.0
"""The widest range that any tool with FreeU accepts (the web UI from -1, ComfyUI to 10)."""


class FactorsError(UserError, ValueError):
    """A factor, version or stage convention that FreeU can't be run with."""


@dataclass(frozen=True)
class Factors:
    """The factors of one candidate; immutable and checked when made.

    Attributes:
        b1, b2: what half of the backbone's channels are multiplied by at stage 1 and 2; 1 leaves them alone.
        s1, s2: what the low frequencies of the skip features are multiplied by at stage 1 and 2; 1 leaves them alone.
        version: "v1" scales uniformly, "v2" by the position's normalised mean feature (arXiv v2, eq. 3 and 4).
        stages: how a stage is recognised: "width" (4C and 2C channels, as the authors) or "block" (the first and
            second decoder block, as diffusers' enable_freeu). The same numbers mean different things under the two.

    Raises:
        FactorsError: a factor is no finite number from -1 to 10, or version or stages are unknown.
    """

    b1: float
    b2: float
    s1: float
    s2: float
    version: Version = "v2"
    stages: Stages = "width"

    def __post_init__(self) -> None:
        for name in ("b1", "b2", "s1", "s2"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        for name, known in (("version", VERSIONS), ("stages", CONVENTIONS)):
            if getattr(self, name) not in known:
                raise FactorsError(str(unknown(f"FreeU {name}", getattr(self, name), known)))

    @property
    def identity(self) -> bool:
        """Whether these factors change nothing."""
        return (self.b1, self.b2, self.s1, self.s2) == (1, 1, 1, 1)

    def of(self, stage: int) -> tuple[float, float]:
        """(b, s) of stage 1 or 2."""
        return (self.b1, self.s1) if stage == 1 else (self.b2, self.s2)

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, in plain types."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Factors:
        """The inverse of `as_dict`; a missing or unknown field is a FactorsError."""
        names = [field.name for field in fields(Factors)]
        for name in values:
            if name not in names:
                raise FactorsError(str(unknown("field of factors", name, names)))
        missing = [name for name in names[:4] if name not in values]
        if missing:
            raise FactorsError(f"factors lack {', '.join(missing)}: give all of b1, b2, s1, s2")
        return Factors(**values)

    def __str__(self) -> str:
        return f"b1 {self.b1:.2f}  b2 {self.b2:.2f}  s1 {self.s1:.2f}  s2 {self.s2:.2f}"


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool | str | bytes):
        raise FactorsError(f"{name} is {value!r}: a factor is a number")
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise FactorsError(f"{name} is {value!r}: a factor is a number") from error
    if not math.isfinite(number) or not LOWEST <= number <= HIGHEST:
        raise FactorsError(f"{name} is {number}: a factor lies between {LOWEST:g} and {HIGHEST:g}")
    return number


IDENTITY = Factors(1.0, 1.0, 1.0, 1.0)
"""No FreeU."""

PUBLISHED: dict[str, Factors] = {
    "sd14": Factors(1.3, 1.4, 0.9, 0.2),
    "sd15": Factors(1.5, 1.6, 0.9, 0.2),
    "sd21": Factors(1.4, 1.6, 0.9, 0.2),
    "sdxl": Factors(1.3, 1.4, 0.9, 0.2),
}
"""The authors' README, for version 2 by width."""
