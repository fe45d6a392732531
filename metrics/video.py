"""Metrics of videos as such; the others score each frame as an image."""

from __future__ import annotations

import numpy as np
from torch.nn import functional as F

from .base import Batch, Direction, MetricError, Score, check_count, mean_score
from .encoders import Encoder


class Consistency:
    """Mean cosine between an encoder's embeddings of neighbouring frames, times 100; more is steadier."""

    name = "consistency"
    version = "1"
    direction: Direction = "up"
    per_image = True
    min_n = 1

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`; one value for each video."""
        check_count(self, len(batch))
        if batch.frames < 2:
            raise MetricError("consistency is between the frames of a video, and these are images")
        unit = F.normalize(batch.embed(self.encoder), dim=-1).double().unflatten(0, (-1, batch.frames))
        cosine = (unit[:, 1:] * unit[:, :-1]).sum(-1).mean(1)
        return mean_score(self, np.asarray(100 * cosine))
