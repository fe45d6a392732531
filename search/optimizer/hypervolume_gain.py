"""By how much a candidate is expected to enlarge the front's hypervolume, exactly, for independent normal objectives.

What no point of the front dominates is cut into boxes. Of a box, a candidate adds along each objective the part of the
side that lies below it; its expectation is a difference of two expected improvements (Jones et al. 1998, equation 15),
and since the objectives are independent, the expected volume is the product over them (Yang et al., arXiv 1904.12672;
Daulton et al., arXiv 2006.05078, section 3.1). The boxes' corners share their coordinates, few along each objective, so
few improvements are computed.
"""

from __future__ import annotations

import math

import numpy as np
from optuna._hypervolume.box_decomposition import get_non_dominated_box_bounds
from scipy.special import ndtr

FAR = 1e6
"""In deviations or spans: what stands for infinity."""


class Growth:
    """The expected hypervolume gain beyond a front and a reference point."""

    def __init__(self, front: np.ndarray, reference: np.ndarray) -> None:
        """front: (n, k), all maximised; none of its rows dominates another. reference: (k,), below each row."""
        low, high = _boxes(front - reference)
        self._reference = reference
        self._edges, self._low, self._high = [], [], []
        for j in range(front.shape[1]):
            edges, where = np.unique(np.concatenate([low[:, j], high[:, j]]), return_inverse=True)
            self._edges.append(edges)
            self._low.append(where[: len(low)])
            self._high.append(where[len(low) :])

    def __call__(self, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
        """(n,) expected growth of candidates with these (n, k) means and standard deviations."""
        grown: np.ndarray | None = None
        for j, edges in enumerate(self._edges):
            above = improvement(mean[:, j, None] - self._reference[j] - edges, deviation[:, j, None])
            side = above[:, self._low[j]] - above[:, self._high[j]]
            grown = side if grown is None else np.multiply(grown, side, out=grown)
        assert grown is not None
        return np.asarray(grown.sum(axis=1))


def improvement(margin: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """The expectation of max(x, 0) for normal x with these means and standard deviations, of 0 or more."""
    z = margin / np.maximum(deviation, 1 / FAR)
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return np.asarray(np.maximum(deviation, 1 / FAR) * (density + z * ndtr(z)))


def _boxes(front: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What no row of the front (n, k) dominates beyond 0, in boxes: (lower corners, upper corners), each (boxes, k)."""
    if front.shape[1] == 1:
        return front.max(axis=0, keepdims=True), np.full((1, 1), FAR)
    lower, upper = get_non_dominated_box_bounds(-front, np.zeros(front.shape[1]))
    return (-upper).clip(max=FAR), (-lower).clip(max=FAR)
