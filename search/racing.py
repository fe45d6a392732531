"""Racing: more prompts for the promising candidates.

Each candidate is evaluated on a quarter of the prompts, then half, then all, and after each rung it goes on if it ranks
among the best quarter of those that reached the rung so far: by non-dominated sorting, then crowding distance (Deb et
al. 2002), as in MO-ASHA (Schmucker et al., arXiv 2106.12639). The rule asks nobody to wait. All are compared on the
same prompts under the same noise, by what is expected on all (search/expect.py), so neither the prompts' own
differences nor the bias of distances between small sets counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

SHARES = (0.25, 0.5)
"""Of the prompts, at the rungs before the last."""
KEPT = 0.25
"""Of the candidates that reach a rung, how many go on."""
FEWEST = 8
"""Prompts on a rung: fewer tell nothing apart."""


def rungs(n: int) -> tuple[int, ...]:
    """How many prompts a candidate has been evaluated on after each rung; the last is n."""
    return (*sorted({part for share in SHARES if FEWEST <= (part := round(share * n)) < n}), n)


def usual(n: int) -> float:
    """How many of the n prompts a candidate is evaluated on, on average."""
    steps = rungs(n)
    return sum((end - begin) * KEPT**i for i, (begin, end) in enumerate(zip((0, *steps), steps, strict=False)))


def goes_on(table: np.ndarray, feasible: Sequence[bool]) -> bool:
    """Whether the last of the candidates at a rung goes on to the next.

    table: (candidates, objectives), all to be maximised, on the same prompts. feasible: within the guardrails; others
    rank last.
    """
    places, within, row = max(1, round(KEPT * len(table))), np.asarray(feasible, bool), table[-1]
    better = (table >= row).all(1) & (table > row).any(1) & (within == within[-1])
    if better.sum() + (0 if within[-1] else within.sum()) >= places:  # they all rank before it
        return False
    return len(table) - 1 in ranked(table, feasible, places)[:places]


def ranked(table: np.ndarray, feasible: Sequence[bool], most: int | None = None) -> np.ndarray:
    """The rows from best to worst: feasible ones first, by front, and within a front by crowding distance.

    most: how many places are asked for; the rows of further fronts are left out.
    """
    from search.front import nondominated

    left = np.arange(len(table))
    within = np.asarray(feasible, bool)
    order: list[int] = []
    for group in (left[within], left[~within]):
        while len(group) and (most is None or len(order) < most):
            on = nondominated(table[group])
            front, group = group[on], group[~on]
            order += list(front[np.argsort(-crowding(table[front]), kind="stable")])
    return np.array(order)


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


def maximised(scores: Mapping[str, float], directions: Mapping[str, str]) -> list[float]:
    """A row of `goes_on`'s table."""
    return [scores[name] * (1 if direction == "up" else -1) for name, direction in directions.items()]
