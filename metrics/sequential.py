"""A test that is looked at several times while its sample grows: what p is worth then.

Each look may spend a part of the error: by the power family's function (Kim & DeMets, Biometrika 74, 1987) with
exponent 3, which keeps most of it for the last look, much as O'Brien and Fleming do. The bounds follow from the joint
normal distribution of the looks (Armitage, McPherson & Rowe 1969; Lan & DeMets 1983). The p-value of a sequence is the
smallest level at which it rejects (Jennison & Turnbull 2000, ch. 9), so it may be corrected for several hypotheses like
any other. To stop earlier than planned, for whatever reason, only takes looks away that could have rejected.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import norm

EXPONENT = 3
NODES = 64
LEVELS = np.geomspace(1e-9, 0.999, 40)
"""At which bounds are computed; those between are interpolated."""


@cache
def bounds(level: float, times: tuple[float, ...]) -> tuple[float, ...]:
    """The largest two-sided p that rejects at each look.

    times: the share of the sample that each look has, rising to 1. Where samples are not independent of one another
    (two seeds of one prompt), the looks are more alike than is assumed, and the bounds err on the safe side.
    """
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    found: list[float] = []
    spent, inside, density, before = 0.0, np.zeros(1), np.ones(1), 0.0  # of the walk: places, mass there, time
    for time in times:
        step = math.sqrt(time - before)
        allowed = level * time**EXPONENT - spent

        def left(bound: float) -> float:
            beyond = ndtr((inside - bound) / step) + ndtr((-bound - inside) / step)  # noqa: B023
            return float(beyond @ density) - allowed  # noqa: B023

        bound = float(brentq(left, 0, 40 * math.sqrt(time), xtol=1e-8))
        found.append(float(2 * norm.sf(bound / math.sqrt(time))))
        places = bound * nodes
        kernel = np.exp(-np.square((places[:, None] - inside) / step) / 2) / (step * math.sqrt(2 * math.pi))
        inside, density = places, bound * weights * (kernel @ density)
        spent, before = level * time**EXPONENT, time
    return tuple(found)


def adjusted(p: float, look: int, times: Sequence[float]) -> float:
    """The p-value of a sequence that ended with this look: the smallest level at which it rejects.

    p: two-sided, at the look. look: from 0. times: of all looks that were planned, as in `bounds`. What an earlier look
    would have rejected and this one doesn't is not rejected, which errs on the safe side.
    """
    return float(np.exp(np.interp(math.log(p), _table(tuple(times))[:, look], np.log(LEVELS), right=0.0)))


@cache
def _table(times: tuple[float, ...]) -> np.ndarray:
    """Logarithms of `bounds` at each of LEVELS: (levels, looks)."""
    return np.log([bounds(float(level), times) for level in LEVELS])


def attainable(p: float, time: float, level: float, times: Sequence[float], optimism: float = 1.0) -> float:
    """The chance that the last look rejects at this level, in the direction that this look has.

    p: two-sided, at this look. time: its share of the sample, below 1. optimism: standard errors by which the effect is
    taken to be larger than it looks.
    """
    z = norm.isf(max(p, 1e-15) / 2)
    drift = (z + optimism) / math.sqrt(time)
    needed = norm.isf(bounds(level, tuple(times))[-1] / 2)
    return float(ndtr((z * math.sqrt(time) + drift * (1 - time) - needed) / math.sqrt(1 - time)))
