"""Fréchet distance between two sets of images, by the mean and covariance of an encoder's features.

Heusel et al., arXiv 1706.08500, with Inception's features; with any other encoder the same formula. It is biased by the
number of images: compare at equal n only, beside the floor that two halves of the reference give at the same n.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from scipy import linalg

from .base import Batch, Direction, MetricError, Score, check_count
from .encoders import Encoder
from .jackknife import GROUPS, jackknife
from .reference import Reference

AT_ONCE = 2_000_000
"""Numbers of the stacked matrices that `Fid.distances` holds at a time: 16 MB."""


class Fid:
    """0 and more, less is better. Its spread is a delete-a-group jackknife's over 8 groups of images, or of videos:
    it covers their draw, not the bias of small n, which all trials of a study share."""

    version = "1"
    direction: Direction = "down"
    per_image = False
    min_n = 2 * GROUPS

    def __init__(self, encoder: Encoder, reference: Reference, name: str = "fid") -> None:
        self.name = name
        self.encoder, self.reference = encoder, reference
        self._trace = float(np.trace(reference.sigma))

    @cached_property
    def _half(self) -> np.ndarray:
        return _half(self.reference.sigma)

    def features(self, batch: Batch) -> np.ndarray:
        """float64 (n, d)."""
        return batch.embed(self.encoder).double().numpy()

    def distance(self, features: np.ndarray) -> float:
        """The distance to the reference of images with these features (n, d), n at least 2.

        Raises:
            MetricError: features that don't fit the reference, or values that are no numbers.
        """
        features = np.asarray(features, np.float64)
        n, d = len(features), len(self.reference.mu)
        if features.shape != (n, d) or n < 2:
            raise MetricError(
                f"{self.name} needs features (n, {d}) of 2 images or more, as its reference; found {features.shape}"
            )
        if not np.isfinite(features).all():
            raise MetricError(f"{self.name} is no number: features of {n} images hold NaN or infinity")
        mean = features.mean(axis=0)
        shift = float(np.square(mean - self.reference.mu).sum())
        centred = (features - mean) / np.sqrt(n - 1)
        # The non-zero eigenvalues of Sigma_r X'X are those of the n by n matrix X Sigma_r X', and those of the d by d
        # matrix (X H)' X H with H H' = Sigma_r: the smaller is solved.
        if n < d:
            gram = centred @ self.reference.sigma @ centred.T
        else:
            half = centred @ self._half
            gram = half.T @ half
        root = float(np.sqrt(linalg.eigvalsh(gram).clip(min=0)).sum())
        return shift + self._trace + float(np.square(centred).sum()) - 2 * root

    def distances(self, pool: np.ndarray, sets: Sequence[np.ndarray]) -> np.ndarray:
        """(k,) `distance` of pool[rows] for the rows of each of k sets: all need the same products of the pool's rows,
        and a row that a set repeats stands there once, with more weight, so matrices are smaller than the sets.

        pool: features (m, d). sets: indices of rows, 2 or more each. Raises as `distance` does.
        """
        n = len(sets[0]) if len(sets) else 0
        if n >= pool.shape[1] or any(len(rows) != n for rows in sets) or not np.isfinite(pool).all():
            return np.array([self.distance(pool[rows]) for rows in sets])
        away, centred = pool - self.reference.mu, pool - pool.mean(axis=0)
        plain, seen = away @ away.T, centred @ self.reference.sigma @ centred.T
        shares = np.stack([np.bincount(rows, minlength=len(pool)) for rows in sets]) / n  # of each row, in a set
        shift = ((shares @ plain) * shares).sum(axis=1)
        spread = (shares @ plain.diagonal() - shift) * n / (n - 1)
        kinds = (shares > 0).sum(axis=1)
        roots = np.empty(len(sets))
        for part in np.array_split(np.argsort(kinds), max(1, len(sets) * n * n // AT_ONCE)):
            share, products = shares[part], shares[part] @ seen  # of each row with a set, on average
            rows = np.argsort(-share, axis=1)[:, : kinds[part].max()]
            weight = np.sqrt(np.take_along_axis(share, rows, axis=1) * n / (n - 1))  # 0 where a set has fewer
            means = np.take_along_axis(products, rows, axis=1)
            gram = seen[rows[:, :, None], rows[:, None, :]]
            gram += (products * share).sum(axis=1)[:, None, None] - means[:, :, None] - means[:, None, :]
            gram *= weight[:, :, None] * weight[:, None, :]
            roots[part] = np.sqrt(np.linalg.eigvalsh(gram).clip(min=0)).sum(axis=1)
        return np.asarray(shift + self._trace + spread - 2 * roots)

    def floor_at(self, n: int) -> float | None:
        """What n real images would get: `null_floor` of the reference; None where it holds too few features."""
        features = self.reference.features
        if features is None or len(features) < 2 * n:
            return None
        return null_floor(features, n, np.random.default_rng(0))

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`."""
        check_count(self, len(batch))
        features = self.features(batch)
        value = self.distance(features)
        spread = jackknife(features, self.distance, batch.frames)
        return Score(self.name, self.version, self.direction, value, spread, len(features), None)


def frechet_distance(mu1: np.ndarray, sigma1: np.ndarray, mu2: np.ndarray, sigma2: np.ndarray) -> float:
    """|mu1 - mu2|² + tr(sigma1 + sigma2 - 2 (sigma1 sigma2)^½) of two normal distributions.

    Args:
        mu1, mu2: means (d,). sigma1, sigma2: covariances (d, d), symmetric, of any rank.

    Returns:
        0 or more. The trace of the root is that of (sigma1^½ sigma2 sigma1^½)^½, a symmetric problem, so no complex
        numbers appear and no regularisation is needed for singular covariances.

    Raises:
        MetricError: shapes that don't fit, or values that are no numbers.
    """
    mu1, mu2 = (np.asarray(mu, np.float64) for mu in (mu1, mu2))
    sigma1, sigma2 = (np.asarray(sigma, np.float64) for sigma in (sigma1, sigma2))
    d = mu1.shape[0] if mu1.ndim == 1 else -1
    if mu2.shape != (d,) or sigma1.shape != (d, d) or sigma2.shape != (d, d):
        shapes = ", ".join(str(part.shape) for part in (mu1, sigma1, mu2, sigma2))
        raise MetricError(f"means (d,) and covariances (d, d) are expected, found {shapes}")
    if not all(np.isfinite(part).all() for part in (mu1, sigma1, mu2, sigma2)):
        raise MetricError("a mean or covariance holds NaN or infinity")
    half = _half(sigma1)
    middle = linalg.eigvalsh(half.T @ sigma2 @ half)
    root = np.sqrt(middle.clip(min=0)).sum()
    return float(np.square(mu1 - mu2).sum() + np.trace(sigma1) + np.trace(sigma2) - 2 * root)


def _half(sigma: np.ndarray) -> np.ndarray:
    """H (d, d) with H H' = sigma, for a sigma of any rank."""
    values, vectors = linalg.eigh(sigma)
    return vectors * np.sqrt(values.clip(min=0))


def null_floor(features: np.ndarray, n: int, rng: np.random.Generator) -> float:
    """The distance of n images of the reference to the rest of it: what a perfect model would get at this n."""
    if len(features) < 2 * n:
        raise MetricError(f"a floor at n={n} needs {2 * n} features of the reference, found {len(features)}")
    order = rng.permutation(len(features))
    a, b = features[order[:n]].astype(np.float64), features[order[n:]].astype(np.float64)
    return frechet_distance(a.mean(axis=0), np.cov(a, rowvar=False), b.mean(axis=0), np.cov(b, rowvar=False))
