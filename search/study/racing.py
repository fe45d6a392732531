"""Racing: the rule which candidates go on to more prompts.

Each candidate is evaluated on a quarter of the prompts, then half, then all. After each rung it goes on if it ranks in
the best quarter of those that have reached the rung so far: by non-dominated sorting, then crowding distance (Deb et
al. 2002), as in MO-ASHA (Schmucker et al., arXiv 2106.12639). Nobody waits for others. All are compared on the same
prompts under the same noise, by their estimated scores on all prompts (search/evaluation/extrapolation.py), so neither
differences between prompts nor the bias of distances between small sets matters.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from search.settings.rungs import rungs, steps
from search.storage.trial_record import VIOLATION

KEPT = 0.25
"""Share of the candidates at a rung that go on."""
AFRESH = 0.1
"""Share of the candidates at a rung that may arrive at once before all are sorted anew."""


def usual(n: int) -> float:
    """The expected number of prompts, of n, that a candidate is evaluated on."""
    return sum(step * KEPT**i for i, step in enumerate(steps(rungs(n))))


@dataclass(frozen=True)
class Tier:
    """Candidates none of which dominates another. numbers: trials (n,). table: (n, objectives), all maximised."""

    numbers: np.ndarray
    table: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: np.ndarray) -> Tier:
        return Tier(self.numbers[rows], self.table[rows])

    def __add__(self, other: Tier) -> Tier:
        return Tier(np.concatenate([self.numbers, other.numbers]), np.concatenate([self.table, other.table]))

    def beaten(self, others: Tier) -> np.ndarray:
        """(n,) bool: which are dominated by any of the others."""
        own, best = self.table[:, None], others.table[None]
        return np.any((best >= own).all(-1) & (best > own).any(-1), axis=1)

    def place(self, number: int) -> int:
        """How many rank before a trial: the less crowded ones, and earlier ones that are as crowded."""
        order = np.argsort(self.numbers)
        lonely, row = crowding(self.table[order]), np.searchsorted(self.numbers[order], number)
        return int((lonely > lonely[row]).sum() + (lonely[:row] == lonely[row]).sum())


class Rung:
    """The candidates that have reached a rung, sorted into fronts; those out of bounds come last.

    The fronts are updated, not sorted anew: a new candidate moves only a few to the next front, and so on, while
    sorting takes time proportional to the number of candidates times a front's size.
    """

    def __init__(self, directions: Mapping[str, str]) -> None:
        """directions: objective → "up" or "down"."""
        self._signs = {name: 1 if direction == "up" else -1 for name, direction in directions.items()}
        self._held: set[int] = set()
        self._tiers: dict[bool, list[Tier]] = {True: [], False: []}  # within bounds, and not

    def hold(self, reached: Mapping[int, Mapping[str, float]]) -> None:
        """Take in all that have reached the rung. reached: trial → estimated score by objective, and its violation."""
        new = reached.keys() - self._held
        anew = not self._held <= reached.keys() or len(new) > 1 + AFRESH * len(self._held)
        groups: dict[bool, list[int]] = {True: [], False: []}
        for number in reached if anew else new:
            groups[reached[number].get(VIOLATION, -1.0) <= 0].append(number)
        for within, numbers in groups.items():
            if anew:
                self._tiers[within] = _sorted(self._tier(numbers, reached))
            else:
                for number in numbers:
                    _insert(self._tiers[within], self._tier([number], reached))
        self._held = set(reached)

    def goes_on(self, number: int) -> bool:
        """Whether a trial ranks in the best quarter."""
        places = max(1, round(KEPT * len(self._held)))
        before = 0
        for tier in (*self._tiers[True], *self._tiers[False]):
            if number in tier.numbers:
                return before + tier.place(number) < places
            before += len(tier)
        raise KeyError(number)

    def _tier(self, numbers: Iterable[int], reached: Mapping[int, Mapping[str, float]]) -> Tier:
        rows = [[sign * reached[number][name] for name, sign in self._signs.items()] for number in numbers]
        return Tier(np.array(list(numbers), int), np.array(rows, float).reshape(-1, len(self._signs)))


def _sorted(group: Tier) -> list[Tier]:
    """Its fronts, best first."""
    from search.optimizer.pareto_front import nondominated

    found = []
    while len(group):
        on = nondominated(group.table)
        found.append(group[on])
        group = group[~on]
    return found


def _insert(tiers: list[Tier], coming: Tier) -> None:
    """Put a candidate into its front, and all that this moves into theirs."""
    # Whoever stands in a front is dominated by someone in each before it.
    at = bisect_left(tiers, True, key=lambda tier: not coming.beaten(tier).any())
    while len(coming):
        if at == len(tiers):
            tiers.append(coming)
            return
        moved = tiers[at].beaten(coming)
        tiers[at], coming = tiers[at][~moved] + coming, tiers[at][moved]
        at += 1


def crowding(table: np.ndarray) -> np.ndarray:
    """How far each row's neighbours are along each objective, in spans of it; infinite at the ends."""
    found = np.zeros(len(table))
    for column in table.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        found[order[[0, -1]]] = np.inf
        if span > 0:
            found[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return found
