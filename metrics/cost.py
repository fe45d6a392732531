"""What an image takes to make: evaluations of the U-Net, so that a search can weigh quality against speed."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .base import Batch, MetricError, Score, mean_score


class Cost:
    """U-Net evaluations of an image (a video), two a step under guidance. Known where a study makes the images."""

    name = "cost"
    version = "1"
    direction: Literal["up", "down", "none"] = "down"
    per_image = True
    min_n = 1

    def score(self, batch: Batch) -> Score:
        """See `metrics.base.Metric`. Raises MetricError for images that are only read."""
        if batch.evaluations is None:
            raise MetricError("cost counts the U-Net's evaluations, which images don't tell: it is a study's objective")
        return mean_score(self, np.full(len(batch) // batch.frames, float(batch.evaluations)))
