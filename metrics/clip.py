"""Scores by the cosine between an image's embedding and its prompt's.

CLIP score (Hessel et al., arXiv 2104.08718) is 100 max(cos, 0) for each image, and the mean over images. Through
open_clip and not torchmetrics, which clamps the mean instead of each image and cuts the end mark off long prompts.

The preference models HPSv2.1 (Wu et al., arXiv 2306.09341) and PickScore (Kirstain et al., arXiv 2305.01569) are CLIPs
tuned on people's choices between images of one prompt: the cosine, and the cosine by the model's own scale. Compare
them under the same prompts alone. Both under-score detail, so they can reward smoothing.
"""

from __future__ import annotations

import math

import numpy as np
from torch.nn import functional as F

from .base import Batch, Direction, Score, check_count, mean_score
from .encoders import Encoder
from .texts import Texts


class ClipScore:
    """scale · max(cos, floor) for each image, more is better; comparable between images of one encoder only."""

    version = "1"
    direction: Direction = "up"
    per_image = True
    min_n = 1

    def __init__(self, encoder: Encoder, name: str = "clip", scale: float = 100.0, floor: float = 0.0) -> None:
        self.name, self.encoder, self.scale, self.floor = name, encoder, scale, floor
        self._texts = Texts(encoder)

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`."""
        check_count(self, len(batch))
        texts = self._texts.of(batch.prompts)
        cosine = (F.normalize(batch.embed(self.encoder), dim=-1).double() * texts.double()).sum(dim=-1)
        return mean_score(self, np.asarray(self.scale * cosine.clamp(min=self.floor)))


def hps(encoder: Encoder) -> ClipScore:
    """HPSv2.1 over its encoder: the cosine, about 0.2 to 0.35."""
    return ClipScore(encoder, "hps", 1.0, -math.inf)


def pickscore(encoder: Encoder) -> ClipScore:
    """PickScore over its encoder: about 18 to 24. The scale is that of its weights, at the most that CLIP allows."""
    return ClipScore(encoder, "pickscore", 100.0, -math.inf)
