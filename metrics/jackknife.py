"""The standard error of a metric of a set: leave out one group of images or videos at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

GROUPS = 8


def jackknife(features: np.ndarray, distance: Callable[[np.ndarray], float], frames: int = 1) -> float:
    """Delete-a-group jackknife over GROUPS groups of rows; it covers the draw of images, not a bias of small n.

    features: (n·frames, d). frames: rows of one video, which stand next to one another and go together, as they are
    alike. Fewer than GROUPS videos are a group each; of one alone the error is NaN.
    """
    video = np.arange(len(features)) // frames
    groups = min(GROUPS, len(features) // frames)
    if groups < 2:
        return math.nan
    without = np.array([distance(features[video % groups != group]) for group in range(groups)])
    return float(np.sqrt((groups - 1) / groups * np.square(without - without.mean()).sum()))
