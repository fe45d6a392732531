"""An exact Gaussian process of one objective, with the noise of each observation (Rasmussen and Williams 2006).

Squared exponential kernel, since scores change smoothly with factors, one length for each dimension, fitted by the
marginal likelihood under weak priors (their algorithm 2.1, equations 5.8 and 5.9): lengths about 0.7 of a dimension's
range, a signal about the observations' deviation, and beside the known noise a little that nobody knows of.

The known noise is luck, common to neighbours: candidates on the same prompts share nearly all of it (in `clip`, 0.94 at
0.15 of a range, 0.55 at 0.65). Of two, the one with the smaller noise has seen the other's prompts too, so what is
common to them has the smaller variance, times the kernel. However many neighbours agree, the model stays in doubt about
them; and where two have the same prompts, it takes their difference at its word.
"""

from __future__ import annotations

import math
from copy import copy

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dtrtrs
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

from search.optimizer.one_thread import one_thread

LENGTH, LENGTH_SPREAD = math.log(0.7), 0.8
NOISE = {True: math.log(0.05), False: math.log(0.3)}
"""What the unknown noise is about, in the observations' deviations: beside known noise, and alone."""
NEIGHBOURS = 0.15
"""How far apart, in each dimension, trials' images are taken to vary alike."""
BOUNDS = {"length": (math.log(0.05), math.log(8.0)), "signal": (-2.0, 2.0), "noise": (math.log(1e-3), math.log(1.0))}
PRECISION = {"maxiter": 60, "ftol": 1e-6, "gtol": 1e-3}
"""How near to the likelihood's maximum a fit ends."""


class GaussianProcess:
    """A Gaussian process of one objective; constructing it fits it."""

    @one_thread
    def __init__(self, x: np.ndarray, y: np.ndarray, spread: np.ndarray) -> None:
        """x: (n, d), each column about 0 to 1. y: (n,), not constant. spread: (n,) standard errors in y's units, or nan
        where none is known.
        """
        self._x, self._mean, self._scale = x, float(y.mean()), float(y.std())
        self._z = (y - self._mean) / self._scale
        self._known = (np.nan_to_num(spread) / self._scale) ** 2
        self._about = NOISE[bool(np.isfinite(spread).all())]
        self._common = self._luck(self._known)
        self._squares = (x[:, None, :] - x[None, :, :]) ** 2
        d = x.shape[1]
        start = np.array([LENGTH] * d + [0.0, self._about])
        bounds = [BOUNDS["length"]] * d + [BOUNDS["signal"], BOUNDS["noise"]]
        fit = minimize(self._loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options=PRECISION)
        self._lengths, self._signal = np.exp(fit.x[:d]), math.exp(2 * fit.x[d])
        self._unknown = math.exp(2 * fit.x[d + 1])
        self._factorise()

    @one_thread
    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(mean, standard deviation) of the objective itself, without noise, at x (m, d); each (m,) in y's units."""
        between = self._kernel(x, self._x)
        variance = self._signal - (dtrtrs(self._factor, between.T, lower=1)[0] ** 2).sum(axis=0)
        return self._mean + self._scale * (between @ self._solved), self._scale * np.sqrt(variance.clip(min=0))

    @one_thread
    def learnt(self, x: np.ndarray) -> np.ndarray:
        """(m,) by how much, as a standard deviation in y's units, the mean at x (m, d) would move if it were observed
        there once, with the usual noise."""
        usual, between = float(np.median(self._known)), self._kernel(x, self._x)
        seen = between * (1 + self._luck(np.array([usual])) / self._signal)
        own, other = (dtrtrs(self._factor, each.T, lower=1)[0] for each in (between, seen))
        covariance = self._signal - (own * other).sum(axis=0)
        variance = self._signal + usual + self._unknown - (other**2).sum(axis=0)
        return self._scale * covariance.clip(min=0) / np.sqrt(variance.clip(min=1e-24))

    @one_thread
    def awaiting(self, x: np.ndarray) -> GaussianProcess:
        """The same fit, as if it had observed its own predictions at x (m, d)."""
        more = copy(self)
        more._z = np.concatenate([self._z, (self.predict(x)[0] - self._mean) / self._scale])
        more._known = np.concatenate([self._known, np.full(len(x), np.median(self._known))])
        more._x = np.concatenate([self._x, x])
        more._factorise()
        return more

    def _luck(self, known: np.ndarray) -> np.ndarray:
        """(m, n) variance that observations with this noise (m,) have in common with the own ones, at one place."""
        return np.minimum.outer(known, self._known)

    def _factorise(self) -> None:
        covariance = self._kernel(self._x, self._x) * (1 + self._luck(self._known) / self._signal)
        covariance += self._unknown * np.eye(len(self._x))
        self._factor, inverse = _factorised(covariance)
        self._solved = inverse @ self._z

    def _kernel(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squares = cdist(a / self._lengths, b / self._lengths, "sqeuclidean")
        return np.asarray(self._signal * np.exp(-0.5 * squares))

    def _loss(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the log marginal likelihood and the priors, with its gradient."""
        d = self._x.shape[1]
        lengths, signal, noise = np.exp(theta[:d]), math.exp(2 * theta[d]), math.exp(2 * theta[d + 1])
        alike = np.exp(-0.5 * (self._squares @ lengths**-2))
        kernel = signal * alike
        both = kernel + self._common * alike
        factor, inverse = _factorised(both + noise * np.eye(len(both)))
        solved = inverse @ self._z
        likelihood = -0.5 * self._z @ solved - np.log(np.diag(factor)).sum()
        weight = 0.5 * (np.outer(solved, solved) - inverse)
        gradient = np.concatenate(
            [
                np.tensordot(weight * both, self._squares, 2) / lengths**2,
                [2 * (weight * kernel).sum(), 2 * noise * np.trace(weight)],
            ]
        )
        off = np.concatenate([(theta[:d] - LENGTH) / LENGTH_SPREAD, [theta[d], theta[d + 1] - self._about]])
        slope = off / np.concatenate([np.full(d, LENGTH_SPREAD), [1.0, 1.0]])
        return -float(likelihood - 0.5 * off @ off), -(gradient - slope)


def pooled(x: np.ndarray, spread: np.ndarray, images: np.ndarray) -> np.ndarray:
    """(n,) standard errors, each from what the images of the trial and of its neighbours vary by: from a few images
    with heavy tails an error is a guess, and too small for the lucky.

    x: (n, d), each column about 0 to 1. spread: (n,) standard errors, nan where unknown, which stay so. images: (n,)
    how many each is from; with any of them nan, the errors stay as they are.
    """
    known = np.flatnonzero(np.isfinite(spread))
    if not len(known) or not np.isfinite(images).all():
        return spread
    images = images.clip(min=1)
    weights = np.exp(-0.5 * cdist(x, x[known], "sqeuclidean") / (x.shape[1] * NEIGHBOURS**2)) * images[known]
    found = np.sqrt(weights @ (spread[known] ** 2 * images[known]) / weights.sum(axis=1) / images)
    return np.where(np.isfinite(spread), found, np.nan)


def _factorised(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(lower Cholesky factor, inverse) of a positive definite matrix; by LAPACK, whose wrappers take longer than it."""
    factor, failed = dpotrf(covariance, lower=1, clean=1)
    if failed:
        raise np.linalg.LinAlgError(f"not positive definite in row {failed}")
    half, _ = dpotri(factor, lower=1)
    return factor, half + np.tril(half, -1).T
