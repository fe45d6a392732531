"""An exact Gaussian process of one objective, with the noise of each observation (Rasmussen and Williams 2006).

Matérn 5/2 kernel, one length for each dimension, fitted by the marginal likelihood under weak priors (their algorithm
2.1, equations 5.8 and 5.9): lengths about 0.7 of a dimension's range, a signal about the observations' deviation, and
beside the known noise a little that nobody knows of.
"""

from __future__ import annotations

import math
from copy import copy

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

LENGTH, LENGTH_SPREAD = math.log(0.7), 0.8
NOISE = {True: math.log(0.05), False: math.log(0.3)}
"""What the unknown noise is about, in the observations' deviations: beside known noise, and alone."""
BOUNDS = {"length": (math.log(0.05), math.log(8.0)), "signal": (-2.0, 2.0), "noise": (math.log(1e-3), math.log(1.0))}


class GaussianProcess:
    """Fitted when it is made."""

    def __init__(self, x: np.ndarray, y: np.ndarray, spread: np.ndarray) -> None:
        """x: (n, d), each column about 0 to 1. y: (n,), not constant. spread: (n,) standard errors in y's units, or nan
        where none is known.
        """
        self._x, self._mean, self._scale = x, float(y.mean()), float(y.std())
        self._z = (y - self._mean) / self._scale
        self._known = (np.nan_to_num(spread) / self._scale) ** 2
        self._about = NOISE[bool(np.isfinite(spread).all())]
        self._squares = (x[:, None, :] - x[None, :, :]) ** 2
        d = x.shape[1]
        start = np.array([LENGTH] * d + [0.0, self._about])
        bounds = [BOUNDS["length"]] * d + [BOUNDS["signal"], BOUNDS["noise"]]
        fit = minimize(self._loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 60})
        self._lengths, self._signal = np.exp(fit.x[:d]), math.exp(2 * fit.x[d])
        self._unknown = math.exp(2 * fit.x[d + 1])
        self._factorise()

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(mean, standard deviation) of the objective itself, without noise, at x (m, d); each (m,) in y's units."""
        between = self._kernel(x, self._x)
        variance = self._signal - np.einsum("ij,ji->i", between, cho_solve(self._factor, between.T))
        return self._mean + self._scale * (between @ self._solved), self._scale * np.sqrt(variance.clip(min=0))

    def awaiting(self, x: np.ndarray) -> GaussianProcess:
        """The same process, its fit as it is, had it seen just what it expects at x (m, d)."""
        more = copy(self)
        more._z = np.concatenate([self._z, (self.predict(x)[0] - self._mean) / self._scale])
        more._known = np.concatenate([self._known, np.full(len(x), np.median(self._known))])
        more._x = np.concatenate([self._x, x])
        more._factorise()
        return more

    def _factorise(self) -> None:
        noise = np.diag(self._known + self._unknown)
        self._factor = cho_factor(self._kernel(self._x, self._x) + noise, lower=True)
        self._solved = cho_solve(self._factor, self._z)

    def _kernel(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        square = (((a[:, None] - b[None]) / self._lengths) ** 2).sum(-1)
        root = np.sqrt(5 * square)
        return np.asarray(self._signal * (1 + root + 5 * square / 3) * np.exp(-root))

    def _loss(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the log marginal likelihood and the priors, with its gradient."""
        d, n = self._x.shape[1], len(self._x)
        lengths, signal, noise = np.exp(theta[:d]), math.exp(2 * theta[d]), math.exp(2 * theta[d + 1])
        square = (self._squares / lengths**2).sum(-1)
        root = np.sqrt(5 * square)
        decay = signal * np.exp(-root)
        kernel = decay * (1 + root + 5 * square / 3)
        factor = cho_factor(kernel + np.diag(self._known + noise), lower=True)
        solved, inverse = cho_solve(factor, self._z), cho_solve(factor, np.eye(n))
        likelihood = -0.5 * self._z @ solved - np.log(np.diag(factor[0])).sum()
        weight = 0.5 * (np.outer(solved, solved) - inverse)
        by_length = weight * decay * 5 / 3 * (1 + root)
        gradient = np.array(
            [(by_length * self._squares[:, :, i]).sum() / lengths[i] ** 2 for i in range(d)]
            + [2 * (weight * kernel).sum(), 2 * noise * np.trace(weight)]
        )
        off = np.concatenate([(theta[:d] - LENGTH) / LENGTH_SPREAD, [theta[d], theta[d + 1] - self._about]])
        slope = off / np.concatenate([np.full(d, LENGTH_SPREAD), [1.0, 1.0]])
        return -float(likelihood - 0.5 * off @ off), -(gradient - slope)
