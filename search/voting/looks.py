"""How many votes a comparison takes, and when it may stop early.

A comparison is looked at when three quarters and all of its planned votes are in; the error of 5 % is spent over the
looks as Lan and DeMets (Biometrika 70, 1983) do it, with O'Brien and Fleming's function: little at first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

LEVEL = 0.05
POWER = 0.8
FRACTIONS = (0.75, 1.0)
"""Of the planned votes, at each look. One at half of them would end clear comparisons with so few votes that their 95 %
intervals hold the truth in 93 % (benchmarks/votes.py)."""
RATES = (0.60, 0.65, 0.70)
"""Win rates that the start page tells the votes for."""


def votes_needed(rate: float, level: float = LEVEL, power: float = POWER) -> int:
    """Votes that show a true win rate other than one half, by a two-sided test at this level with this power."""
    from scipy.stats import norm  # a second to load, which `search.show` spends only where there are votes

    spread = norm.ppf(1 - level / 2) / 2 + norm.ppf(power) * math.sqrt(rate * (1 - rate))
    return math.ceil((spread / (rate - 0.5)) ** 2 - 1e-9)


def planned_votes(rate: float, level: float = LEVEL) -> int:
    """Votes to plan: those needed, and what it costs that votes are counted, not measured (1 / |rate - 1/2|, the
    correction for continuity) and that they are looked at before the end (1 %).
    """
    return math.ceil(1.01 * votes_needed(rate, level) + 1 / abs(rate - 0.5))


@cache
def levels(level: float = LEVEL, fractions: Sequence[float] = FRACTIONS) -> tuple[float, ...]:
    """The two-sided p-value that stops at each look, so that all looks together err in a share `level` of cases.

    fractions: of the planned votes, rising. The total of the votes is taken for a Brownian motion at these times, whose
    density among those that have not stopped is carried from look to look on a grid.
    """
    from scipy.stats import norm

    x = np.linspace(-5, 5, 1001)
    step = x[1] - x[0]
    spent = [4 * norm.sf(norm.isf(level / 4) / math.sqrt(t)) for t in fractions]
    density, before, found = np.where(x == 0, 1 / step, 0.0), 0.0, []
    for t, share in zip(fractions, np.diff([0.0, *spent]), strict=True):
        moved = norm.pdf(x[:, None] - x[None, :], scale=math.sqrt(t - before)) @ density * step
        beyond = 2 * (np.cumsum(moved[::-1])[::-1] - moved / 2) * step  # of each point, on both sides
        bound = float(np.interp(-share, -beyond, x))
        found.append(float(2 * norm.sf(bound / math.sqrt(t))))
        density, before = np.where(np.abs(x) < bound, moved, 0.0), t
    return tuple(found)
