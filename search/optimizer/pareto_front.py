"""The Pareto front and its picks, by what a model expects of the candidates, not by what they happened to score.

The best of many noisy scores is better than its candidate. A Gaussian process of each objective
(search/optimizer/gaussian_process.py), with the standard errors of paired differences as its noise, gives each
candidate's posterior mean. The front holds the candidates whose means no other one dominates, and the baseline unless
one of them is surely better in everything: it is what the user has already, so luck alone does not take it away."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import log_ndtr

from search.optimizer.gaussian_process import GaussianProcess, pooled
from search.optimizer.space import Space
from search.optimizer.space_file import default
from search.storage import TrialRecord

NEEDED = 2.6
"""Standard errors that a difference takes to count, about: Holm's correction over six comparisons."""
SURELY = 2.0
"""Posterior deviations of both by which a candidate beats the baseline for sure: the luckiest of some two hundred
candidates is often better than it by one."""
FEWEST = 6  # below this many candidates a fit would follow its prior: the observed values are taken
MOST = 500
"""Candidates that a fit is made to: its cost grows with the cube."""


@dataclass(frozen=True)
class Pick:
    """A candidate and what it is picked for: "best-<objective>", "knee" or "most-improved"."""

    name: str
    number: int


@dataclass(frozen=True)
class Front:
    """numbers: the front's trials. picks: non-dominated ones, named. expected: objective → trial → posterior mean.

    rivals: of a pick's trial, the one with FreeU off that it is hardest to be better than; none where the baseline is
    the only such one.
    """

    expected: dict[str, dict[int, float]]
    numbers: tuple[int, ...]
    picks: tuple[Pick, ...]
    rivals: dict[int, int] = field(default_factory=dict)


def find(
    records: Sequence[TrialRecord],
    directions: Mapping[str, str],
    space: Space | None = None,
) -> Front:
    """Find the front of complete trials within the guardrails; there is at least one (the baseline).

    FreeU off under other sampling settings than the study's is no answer to what FreeU is good for: it stands beside
    the front, as a rival.

    directions: objective → "up" or "down". space: what was searched (default: the default space). The noise of an
    objective is `paired_spreads`; if unknown, it is fitted.
    """
    done = [record for record in records if record.complete]
    space = space or default()
    searched = {dimension.name for dimension in space.dimensions}
    modelled = np.array([record.sampling.as_dict().keys() <= searched for record in done])
    x = np.array([space.unit(record.candidate) for record in done])
    expected: dict[str, dict[int, float]] = {}
    doubts: dict[str, dict[int, float]] = {}
    spreads = paired_spreads(done, list(directions))
    y = np.array([[record.values[name].value for name in directions] for record in done])
    images = np.array([float(record.images) for record in done])
    rows, scales = np.flatnonzero(modelled), _scales(done, space)
    tuned = np.flatnonzero(np.isfinite(scales))
    fitted = rows[telling(y[rows] * [_up(1.0, direction) for direction in directions.values()], MOST)]
    for j, name in enumerate(directions):
        known = spreads.get(name, {})
        errors = np.array([known.get(record.number, math.nan) for record in done])
        errors[fitted] = pooled(x[fitted], errors[fitted], images[fitted])
        found = np.array(posterior(x, y[:, j], errors, fitted))
        if not modelled.all():
            found[:, ~modelled] = y[~modelled, j], np.nan_to_num(errors[~modelled])
            along = np.array(posterior(scales[tuned, None], y[tuned, j], errors[tuned], fewest=3))
            found[:, tuned] = np.where(modelled[tuned], found[:, tuned], along)
        numbers = [record.number for record in done]
        expected[name], doubts[name] = (dict(zip(numbers, map(float, each), strict=True)) for each in found)
    tried = candidates(done)
    table = np.array([[_up(expected[name][r.number], directions[name]) for name in directions] for r in tried])
    deviations = np.array([[doubts[name][r.number] for name in directions] for r in tried])
    best, baseline = nondominated(table), np.array([record.candidate.baseline for record in tried])
    front = best | baseline & unbeaten(table, SURELY * deviations)
    kept = tuple(record.number for record, on in zip(tried, front, strict=True) if on)
    picks = _picks(
        [record.number for record, on in zip(tried, best, strict=True) if on],
        table[best],
        list(directions),
        table[baseline][0] if baseline.any() else None,
    )
    return Front(expected, kept, picks, _rivals(done, expected, doubts, directions, picks))


def of_factors(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Without the tuned baselines: one with FreeU off at another guidance says nothing of factors."""
    return [record for record in records if record.candidate.baseline or not record.candidate.off]


def candidates(done: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Of complete trials those that may stand on the front: within the guardrails, and no tuned baseline."""
    return [record for record in of_factors(done) if record.feasible]


def _scales(done: Sequence[TrialRecord], space: Space) -> np.ndarray:
    """(n,) the logarithm of the guidance scale of trials that have FreeU off and all else as the study has it, from 0
    for the smallest to 1 for the largest; nan of others. The search does not model tuned baselines, so they are
    modelled along this.
    """
    own = space.own.guidance or 0.0
    plain = [each.candidate.off and each.sampling.as_dict().keys() <= {"guidance"} for each in done]
    found = np.array([each.sampling.as_dict().get("guidance", own) for each in done], float)
    found = np.log(np.where(np.array(plain) & (found > 0), found, np.nan))
    known = found[np.isfinite(found)]
    return (found - known.min()) / (np.ptp(known) or 1.0) if len(known) else found


def _rivals(
    done: Sequence[TrialRecord],
    expected: Mapping[str, Mapping[int, float]],
    doubts: Mapping[str, Mapping[int, float]],
    directions: Mapping[str, str],
    picks: Sequence[Pick],
) -> dict[int, int]:
    """Of each pick the trial with FreeU off that it is hardest to be better than: against which it is least likely to
    be shown better in anything on as many prompts as the search has, by what is expected of both and how surely."""
    by_number = {record.number: record for record in done}
    off = [record for record in done if record.feasible and record.candidate.off]
    if len(off) < 2:
        return {}
    whole = max(record.images for record in done)

    def chance(pick: TrialRecord, other: int) -> float:
        """Grows with it."""
        unseen = 0.0
        for name, direction in directions.items():
            gain = _up(expected[name][pick.number] - expected[name][other], direction)
            error = pick.values[name].paired * math.sqrt(pick.images / whole)
            error = error if math.isfinite(error) else 0.0
            spread = math.hypot(error, doubts[name][pick.number], doubts[name][other]) or 1.0
            unseen += float(log_ndtr((NEEDED * error - gain) / spread))
        return -unseen

    numbers = {pick.number for pick in picks if not by_number[pick.number].candidate.off}
    return {
        number: min((each.number for each in off), key=lambda n: chance(by_number[number], n)) for number in numbers
    }


def unbeaten(table: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Which rows of (n, objectives), all to be maximised, no other row surely dominates; (n,) bool.

    deviations: (n, objectives); surely is by more than both in each objective. Without any it is `nondominated`.
    """
    low, high = table - deviations, table + deviations
    low = low[nondominated(low)]  # whom another row beats, one of these beats
    at_least = (low[:, None, :] >= high[None, :, :]).all(-1)
    more = (low[:, None, :] > high[None, :, :]).any(-1)
    return np.asarray(~(at_least & more).any(0))


def nondominated(table: np.ndarray) -> np.ndarray:
    """Which rows of (n, objectives), all to be maximised, no other row dominates; (n,) bool. Equal rows all stay.

    Takes time as the rows times the front's size.
    """
    on = np.zeros(len(table), bool)
    left = np.lexsort(-table.T)  # by one objective, then the next: whoever dominates a row stands before it
    while len(left):
        best, left = left[0], left[1:]
        on[best] = True
        left = left[(table[left] > table[best]).any(1) | (table[left] == table[best]).all(1)]
    return on


def hypervolume(table: np.ndarray, reference: np.ndarray) -> float:
    """What the rows of (n, objectives), all to be maximised, dominate beyond the reference point (objectives,)."""
    from optuna._hypervolume import compute_hypervolume

    within = table[(table > reference).all(1)]
    return float(compute_hypervolume(-within, -reference)) if len(within) else 0.0


def _up(value: float, direction: str) -> float:
    return value if direction == "up" else -value


def _picks(
    numbers: Sequence[int], table: np.ndarray, names: Sequence[str], base: np.ndarray | None
) -> tuple[Pick, ...]:
    """table: of the front. base: what is expected of the baseline; without it nobody can be the most improved."""
    best = [Pick(f"best-{name}", numbers[int(table[:, j].argmax())]) for j, name in enumerate(names)]
    if len(names) == 1:
        return tuple(best)
    span = np.ptp(table, axis=0)
    unit = np.where(span > 0, span, 1.0)
    scaled = (table - table.min(0)) / unit
    # The knee: nearest to having the best of everything, each objective measured by its span on the front.
    loss = np.where(span > 0, 1.0 - scaled, 0.0)
    best.append(Pick("knee", numbers[int((loss**2).sum(1).argmin())]))
    if base is not None:  # by the same measure, on average over the objectives
        gain = ((table - base) / unit).mean(1)
        if gain.max() > 0:
            best.append(Pick("most-improved", numbers[int(gain.argmax())]))
    return tuple(best)


def telling(table: np.ndarray, most: int) -> np.ndarray:
    """The rows of (n, objectives), all to be maximised, that a model is fitted to: (m,) of them, `most` at most.

    All where they are few enough; else the non-dominated ones, half of `most` at most, and the last ones.
    """
    rows = np.arange(len(table))
    if len(rows) <= most:
        return rows
    best = rows[nondominated(table)][-(most // 2) :]
    others = rows[~np.isin(rows, best)]
    return np.sort(np.concatenate([best, others[len(best) - most :]]))


def posterior(
    x: np.ndarray, y: np.ndarray, spread: np.ndarray, fitted: np.ndarray | None = None, fewest: int = FEWEST
) -> tuple[np.ndarray, np.ndarray]:
    """What a Gaussian process expects at its own inputs, and its standard deviation: (n,) each, in y's units.

    x: (n, d), each column about 0 to 1. y: (n,). spread: (n,) standard errors in y's units, nan where unknown. fitted:
    the rows that it is fitted to; all unless told. y itself, and its spread, where n < fewest, y is constant, or y is
    exact: all spreads are 0, as of `cost`.
    """
    constant = y.std() < 1e-12 * max(1.0, float(np.abs(y).max()))
    if len(y) < fewest or constant or not np.nan_to_num(spread, nan=1.0).any():
        return y.astype(float), np.nan_to_num(spread)
    fitted = np.arange(len(y)) if fitted is None else fitted
    return GaussianProcess(x[fitted], y[fitted], spread[fitted]).predict(x)


def paired_spreads(records: Sequence[TrialRecord], names: Sequence[str]) -> dict[str, dict[int, float]]:
    """Objective → trial → the standard error to use when comparing trials.

    Trials share prompts and noise, so only the paired difference to the baseline is uncertain; each side gets half of
    its variance. The baseline gets the mean of the trials with as many prompts. Objectives whose errors are unknown are
    left out.
    """
    found: dict[str, dict[int, float]] = {}
    for name in names:
        errors = {r.number: r.values[name].paired / math.sqrt(2) for r in records if not r.candidate.baseline}
        if errors and np.isfinite(list(errors.values())).all():
            most = max(record.images for record in records)
            whole = [errors[r.number] for r in records if r.number in errors and r.images == most]
            mean = float(np.mean(whole or list(errors.values())))
            found[name] = errors | {record.number: mean for record in records if record.candidate.baseline}
    return found
