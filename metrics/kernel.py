"""Unbiased distances between two sets of features: KID and CMMD, both a maximum mean discrepancy.

The estimate is the U-statistic: pairs of an image with itself are left out, so its expectation is the true distance at
any number of images, and it can be below 0. The authors of CMMD give the V-statistic, which is too large at small n.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from .base import Batch, Direction, MetricError, Score, check_count
from .encoders import Encoder
from .jackknife import GROUPS, jackknife
from .reference import Reference

ROWS = 1024
"""Of a kernel matrix that are held at a time."""
MOST = 2000
"""Features of the reference that are compared with: a draw by seed 0 of larger ones."""
SIGMA, SCALE = 10.0, 1000.0
"""CMMD's bandwidth and its factor."""

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Of each pair of features (n, d) and (m, d): (n, m), symmetric."""


def kid(x: np.ndarray, y: np.ndarray) -> float:
    """Kernel Inception distance (Bińkowski et al., arXiv 1801.01401): kernel (x·y / d + 1)³, of the whole sets.

    Args:
        x, y: features (n, d) and (m, d), n and m at least 2.

    Raises:
        MetricError: shapes that don't fit, or values that are no numbers.
    """
    return _discrepancy(*_checked(x, y), _cubic)


def cmmd(x: np.ndarray, y: np.ndarray) -> float:
    """CLIP maximum mean discrepancy (Jayasumana et al., arXiv 2401.09603), of the whole sets, times 1000.

    Args:
        x, y: CLIP's embeddings (n, d) and (m, d), n and m at least 2; they are L2-normalised here. The kernel is
            exp(-|x - y|² / (2 · 10²)).

    Raises:
        MetricError: shapes that don't fit, values that are no numbers, or an embedding of length 0.
    """
    x, y = _checked(x, y)
    return SCALE * _discrepancy(_unit(x), _unit(y), _gaussian)


class KernelDistance:
    """A metric of the set; less is better, and 0 is what a perfect model has on average. Below 0 is luck.

    The spread is a delete-a-group jackknife's over the images, or the videos; the reference counts as fixed.
    """

    version = "1"
    direction: Direction = "down"
    per_image = False
    min_n = 2 * GROUPS
    unbiased = True

    def __init__(self, name: str, encoder: Encoder, reference: Reference) -> None:
        """name: kid or cmmd."""
        if reference.features is None:
            raise MetricError(
                f"{name} needs the features of the reference's images, and this one holds their mean and covariance "
                "alone: give the images with --reference FOLDER"
            )
        self.name, self.encoder = name, encoder
        kept = np.random.default_rng(0).permutation(len(reference.features))[:MOST]
        self._reference = reference.features[np.sort(kept)].astype(np.float64)
        cubic = name == "kid"
        self._kernel: Kernel = _cubic if cubic else _gaussian
        self._prepared: Callable[[np.ndarray], np.ndarray] = np.asarray if cubic else _unit
        self._scale = 1.0 if cubic else SCALE

    def features(self, batch: Batch) -> np.ndarray:
        """float64 (n, d)."""
        return batch.embed(self.encoder).double().numpy()

    def distance(self, features: np.ndarray) -> float:
        """The distance to the reference of images with these features (n, d), n at least 2."""
        x, y = map(self._prepared, _checked(features, self._reference))
        across = _total(x, y, self._kernel) / (len(x) * len(y))
        return self._scale * (_within(x, self._kernel) + self._within_reference - 2 * across)

    def distances(self, pool: np.ndarray, sets: Sequence[np.ndarray]) -> np.ndarray:
        """(k,) `distance` of pool[rows] for the rows of each of k sets: the pool's kernel is computed once for all.

        pool: features (m, d). sets: indices of rows, 2 or more each. Raises as `distance` does.
        """
        kernel = self._kernel
        x, y = map(self._prepared, _checked(pool, self._reference))
        counts = np.stack([np.bincount(rows, minlength=len(x)) for rows in sets]).astype(np.float64)  # (k, m)
        within, across = np.zeros(len(sets)), np.zeros(len(sets))
        for i in range(0, len(x), ROWS):
            share, block = counts[:, i : i + ROWS], kernel(x[i : i + ROWS], x)
            within += ((counts @ block.T) * share).sum(1) - share @ block.diagonal(i)
            across += share @ kernel(x[i : i + ROWS], y).sum(1)
        n = counts.sum(1)
        discrepancy = within / (n * (n - 1)) + self._within_reference - 2 * across / (n * len(y))
        return np.asarray(self._scale * discrepancy)

    @cached_property
    def _within_reference(self) -> float:
        """The reference's own term, the same for all that is compared with it."""
        return _within(self._prepared(self._reference), self._kernel)

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`."""
        check_count(self, len(batch))
        features = self.features(batch)
        value, spread = self.distance(features), jackknife(features, self.distance, batch.frames)
        return Score(self.name, self.version, self.direction, value, spread, len(features), None)


def _cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _gaussian(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # 1 - exp(…) loses nothing to rounding where all distances are small beside the bandwidth, and the ones cancel.
    squares = np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * x @ y.T
    return np.expm1(-squares.clip(min=0) / (2 * SIGMA**2))


def _discrepancy(x: np.ndarray, y: np.ndarray, kernel: Kernel) -> float:
    return _within(x, kernel) + _within(y, kernel) - 2 * _total(x, y, kernel) / (len(x) * len(y))


def _within(x: np.ndarray, kernel: Kernel) -> float:
    return (_total(x, x, kernel) - _diagonal(x, kernel)) / (len(x) * (len(x) - 1))


def _total(x: np.ndarray, y: np.ndarray, kernel: Kernel) -> float:
    return float(sum(kernel(x[i : i + ROWS], y).sum() for i in range(0, len(x), ROWS)))


def _diagonal(x: np.ndarray, kernel: Kernel) -> float:
    return float(sum(np.trace(kernel(part, part)) for part in (x[i : i + ROWS] for i in range(0, len(x), ROWS))))


def _checked(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise MetricError(f"features (n, d) and (m, d) of 2 or more are expected, found {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise MetricError(f"features {x.shape} and {y.shape} hold NaN or infinity")
    return x, y


def _unit(x: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise MetricError(f"{int((lengths == 0).sum())} of {len(x)} embeddings have length 0")
    return x / lengths
