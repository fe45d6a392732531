"""Chooses the guidance scale at which FreeU off is tried next, so that the best without FreeU is found; queue.py begins
the trial.

The first scales are fixed. From then on one trial in `TURN` looks nearer: at the vertex of the parabola, over the
logarithm of the scale, through the best one so far and its neighbours, by one objective after the other and by all of
them together. On made-up models whose truth is known (benchmarks/rival.py) a fixed grid of five scales let a study say
that FreeU adds something where it only hit a scale between the grid's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from search.storage import TrialRecord

TURN = 10
APART = 1.04
"""A scale this much above or below a tried one, as a ratio, would tell nothing new."""


def next_scale(records: Sequence[TrialRecord], directions: Mapping[str, str], own: float, turn: int) -> float | None:
    """The guidance scale to try next; None where nothing new is left. own: the study's. turn: counts the calls."""
    found = {scale: record for record in records if (scale := _scale(record, own)) is not None}
    if len(found) < 3:
        return None
    scales = sorted(found)
    signs = [1 if direction == "up" else -1 for direction in directions.values()]
    table = np.array([[found[scale].values[name].value for name in directions] for scale in scales]) * signs
    spread = table.std(axis=0)
    aims = [*table.T, (table / np.where(spread > 0, spread, 1)).sum(axis=1)]
    nearer = (_nearer(np.array(scales), aims[(turn + shift) % len(aims)]) for shift in range(len(aims)))
    return next((scale for scale in nearer if scale is not None), None)


def _scale(record: TrialRecord, own: float) -> float | None:
    """The guidance scale of a trial with FreeU off, all else as the study has it; None for others."""
    given = record.sampling.as_dict()
    if not record.complete or not record.candidate.off or given.keys() - {"guidance"}:
        return None
    return float(given.get("guidance", own))


def _nearer(scales: np.ndarray, values: np.ndarray) -> float | None:
    """The parabola's vertex, else the middle of the wider gap beside the best, else of the other one. scales: (n,),
    ascending, three at least. values: (n,), more is better.
    """
    x, best = np.log(scales), int(np.argmax(values))
    here = slice(min(max(best - 1, 0), len(x) - 3), min(max(best - 1, 0), len(x) - 3) + 3)
    curve, slope, _ = np.polyfit(x[here] - x[best], values[here], 2)
    beside = [(x[i], x[i + 1]) for i in (best - 1, best) if 0 <= i < len(x) - 1]
    gaps = sorted(beside, key=lambda ends: ends[0] - ends[1])
    ways = [float(np.clip(x[best] - slope / (2 * curve), x[here][0], x[here][-1]))] if curve < 0 else []
    ways += [(low + high) / 2 for low, high in gaps]
    found = (float(f"{math.exp(way):.3g}") for way in ways)
    return next((each for each in found if np.maximum(scales / each, each / scales).min() > APART), None)
