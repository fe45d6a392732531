"""The standard error of a metric of a set: leave out one group of images at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

GROUPS = 8


def jackknife(features: np.ndarray, distance: Callable[[np.ndarray], float]) -> float:
    """Delete-a-group jackknife over GROUPS groups of rows; it covers the draw of images, not a bias of small n."""
    member = np.arange(len(features)) % GROUPS
    without = np.array([distance(features[member != group]) for group in range(GROUPS)])
    return float(np.sqrt((GROUPS - 1) / GROUPS * np.square(without - without.mean()).sum()))
