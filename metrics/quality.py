"""Imaging quality of an image or of a video's frames, as a CLIP tells it: is "a good photo" nearer to it than "a bad
photo" (the idea of CLIP-IQA, Wang et al., arXiv 2207.12396)?"""

from __future__ import annotations

import numpy as np
from torch.nn import functional as F

from .base import Batch, Direction, Score, check_count, mean_score
from .encoders import Encoder

GOOD, BAD = "Good photo.", "Bad photo."
SCALE = 100.0
"""CLIP's own temperature."""


class Quality:
    """100 · P("good photo" rather than "bad photo"), 0 to 100; more is better."""

    name, version = "imaging_quality", "1"
    direction: Direction = "up"
    per_image = True
    min_n = 1

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`; a video's is the mean over its frames."""
        check_count(self, len(batch))
        good, bad = F.normalize(self.encoder.embed_texts([GOOD, BAD]), dim=-1).double()
        seen = F.normalize(batch.embed(self.encoder), dim=-1).double()
        return mean_score(self, np.asarray(100 * (SCALE * (seen @ (good - bad))).sigmoid()))
