"""Which candidates are best, by what a model expects of them and not by what they happened to score.

The best observed score of many noisy ones flatters itself. An exact Gaussian process for each objective
(squared exponential, one length for each factor, the standard errors of paired differences as noise; Rasmussen and
Williams 2006, algorithm 2.1) gives each candidate's posterior mean; the front and the picks are taken from that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from search.records import TrialRecord
from search.space import Space, default

FEWEST = 6  # below this many candidates a fit would follow its prior: the observed values are taken
BOUNDS = {"length": (math.log(0.1), math.log(5.0)), "signal": (math.log(0.2), math.log(5.0))}


@dataclass(frozen=True)
class Pick:
    """A candidate and what it is picked for: "best-<objective>" or "knee"."""

    name: str
    number: int


@dataclass(frozen=True)
class Front:
    """expected: objective → posterior mean by trial number; numbers: the non-dominated trials; picks among them."""

    expected: dict[str, dict[int, float]]
    numbers: tuple[int, ...]
    picks: tuple[Pick, ...]


def find(
    records: Sequence[TrialRecord],
    directions: Mapping[str, str],
    space: Space | None = None,
) -> Front:
    """The front of complete trials within the guardrails, of which there is one at least (no FreeU).

    directions: objective → "up" or "down". space: what was searched; the default one unless told. The noise of an
    objective is `paired_spreads`; where that is not known it is fitted.
    """
    done = [record for record in records if record.complete]
    space = space or default()
    x = np.array([space.unit(record.factors) for record in done])
    expected: dict[str, dict[int, float]] = {}
    spreads = paired_spreads(done, list(directions))
    for name in directions:
        y = np.array([record.values[name].value for record in done])
        known = spreads.get(name, {})
        mean = posterior_mean(x, y, np.array([known.get(record.number, math.nan) for record in done]))
        expected[name] = {record.number: float(m) for record, m in zip(done, mean, strict=True)}
    numbers = [record.number for record in done if record.feasible]
    table = np.array([[_up(expected[name][k], directions[name]) for name in directions] for k in numbers])
    front = nondominated(table)
    kept = tuple(number for number, on in zip(numbers, front, strict=True) if on)
    return Front(expected, kept, _picks(kept, table[front], list(directions)))


def nondominated(table: np.ndarray) -> np.ndarray:
    """Which rows of (n, objectives), all to be maximised, no other row dominates; (n,) bool. Equal rows all stay."""
    at_least = (table[:, None, :] >= table[None, :, :]).all(-1)
    more = (table[:, None, :] > table[None, :, :]).any(-1)
    return np.asarray(~(at_least & more).any(0))


def hypervolume(table: np.ndarray, reference: np.ndarray) -> float:
    """What the rows of (n, objectives), all to be maximised, dominate beyond the reference point (objectives,)."""
    from optuna._hypervolume import compute_hypervolume

    within = table[(table > reference).all(1)]
    return float(compute_hypervolume(-within, -reference)) if len(within) else 0.0


def _up(value: float, direction: str) -> float:
    return value if direction == "up" else -value


def _picks(numbers: Sequence[int], table: np.ndarray, names: Sequence[str]) -> tuple[Pick, ...]:
    best = [Pick(f"best-{name}", numbers[int(table[:, j].argmax())]) for j, name in enumerate(names)]
    if len(names) == 1:
        return tuple(best)
    span = np.ptp(table, axis=0)
    scaled = (table - table.min(0)) / np.where(span > 0, span, 1.0)
    # The knee: nearest to having the best of everything, each objective measured by its span on the front.
    loss = np.where(span > 0, 1.0 - scaled, 0.0)
    return (*best, Pick("knee", numbers[int((loss**2).sum(1).argmin())]))


def posterior_mean(x: np.ndarray, y: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """What a Gaussian process expects at its own inputs.

    x: (n, d), each column about 0 to 1. y: (n,). spread: (n,) standard errors in y's units; if any is no number
    the noise is one fitted value for all. Returns (n,) in y's units; y itself where n < 6 or y is constant.
    """
    scale = float(y.std())
    if len(y) < FEWEST or scale < 1e-12 * max(1.0, float(np.abs(y).max())):
        return y.astype(float)
    z = (y - y.mean()) / scale
    fixed = (spread / scale) ** 2 if np.isfinite(spread).all() else None
    square = (x[:, None, :] - x[None, :, :]) ** 2
    d = x.shape[1]
    bounds = [BOUNDS["length"]] * d + [BOUNDS["signal"]] + ([(math.log(1e-3), 0.0)] if fixed is None else [])
    starts = [math.log(length) for length in (0.4, 1.2)]
    fits = [
        minimize(
            _loss,
            np.array([start] * d + [0.0] + ([math.log(0.1)] if fixed is None else [])),
            args=(square, z, fixed),
            bounds=bounds,
            method="L-BFGS-B",
        )
        for start in starts
    ]
    best = min(fits, key=lambda fit: float(fit.fun)).x
    kernel, noise = _covariance(best, square, fixed)
    return y.mean() + scale * (kernel @ cho_solve(cho_factor(kernel + np.diag(noise), lower=True), z))


def _covariance(theta: np.ndarray, square: np.ndarray, fixed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    d = square.shape[-1]
    kernel = np.exp(2 * theta[d] - 0.5 * (square * np.exp(-2 * theta[:d])).sum(-1))
    noise = fixed if fixed is not None else np.full(len(square), math.exp(2 * theta[d + 1]))
    return kernel, noise + 1e-6  # of the observations' variance: keeps the factorisation sound


def _loss(theta: np.ndarray, square: np.ndarray, z: np.ndarray, fixed: np.ndarray | None) -> float:
    """Minus the log marginal likelihood and a weak prior, normal in the logarithms with deviation 1.

    It centres the lengths and the signal on 1, a fitted noise on 0.4 of the observations' deviation.
    """
    kernel, noise = _covariance(theta, square, fixed)
    factor = cho_factor(kernel + np.diag(noise), lower=True)
    likelihood = -0.5 * z @ cho_solve(factor, z) - np.log(np.diag(factor[0])).sum()
    d = square.shape[-1]
    prior = -0.5 * ((theta[:d] / 0.5) ** 2).sum() - 0.5 * theta[d] ** 2
    if fixed is None:
        prior -= 0.5 * (theta[d + 1] - math.log(0.4)) ** 2
    return -float(likelihood + prior)


def paired_spreads(records: Sequence[TrialRecord], names: Sequence[str]) -> dict[str, dict[int, float]]:
    """Objective → trial → the standard error to compare trials by.

    Trials share prompts and noise, so what tells them apart is the paired difference to no FreeU; half of its variance
    is each side's. No FreeU itself gets the mean of those with as many prompts. Objectives whose errors are not known
    are left out.
    """
    found: dict[str, dict[int, float]] = {}
    for name in names:
        errors = {r.number: r.values[name].paired / math.sqrt(2) for r in records if not r.factors.identity}
        if errors and np.isfinite(list(errors.values())).all():
            most = max(record.images for record in records)
            whole = [errors[r.number] for r in records if r.number in errors and r.images == most]
            mean = float(np.mean(whole or list(errors.values())))
            found[name] = errors | {record.number: mean for record in records if record.factors.identity}
    return found
