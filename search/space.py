"""Where candidates come from: four numbers, as Optuna's distributions, and the Factors that they make.

The ranges hold every published setting with room on both sides; 1 (no FreeU) is inside each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from freeu import Factors

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

RANGES = {"b1": (0.8, 1.8), "b2": (0.8, 1.8), "s1": (0.0, 1.2), "s2": (0.0, 1.2)}
NAMES = tuple(RANGES)


def distributions() -> dict[str, BaseDistribution]:
    """The search space for `study.ask`."""
    from optuna.distributions import FloatDistribution

    return {name: FloatDistribution(low, high) for name, (low, high) in RANGES.items()}


def to_factors(params: Mapping[str, Any], version: str, stages: str) -> Factors:
    """Optuna's parameters as Factors."""
    return Factors(**{name: params[name] for name in NAMES}, version=version, stages=stages)  # type: ignore[arg-type]


def to_params(factors: Factors) -> dict[str, float]:
    """The inverse: the four numbers by name."""
    return {name: getattr(factors, name) for name in NAMES}


def unit(factors: Factors) -> list[float]:
    """The four numbers scaled so that the ranges become 0 to 1."""
    return [(getattr(factors, name) - low) / (high - low) for name, (low, high) in RANGES.items()]


def sobol(n: int, seed: int) -> list[dict[str, float]]:
    """n scrambled Sobol points of the space (Owen 1998), the same for the same seed; more only adds to them."""
    from scipy.stats import qmc

    if n <= 0:
        return []
    points = qmc.Sobol(d=len(NAMES), scramble=True, rng=seed).random_base2((n - 1).bit_length())[:n]
    return [
        {name: low + (high - low) * float(x) for x, (name, (low, high)) in zip(point, RANGES.items(), strict=True)}
        for point in points
    ]
