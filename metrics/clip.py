"""CLIP score: how well an image fits its prompt (Hessel et al., arXiv 2104.08718).

Per image 100 max(cos, 0) between the embeddings of image and prompt; the score is the mean. Through open_clip and not
torchmetrics, which clamps the mean instead of each image and cuts the end mark off long prompts.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from .base import Batch, Direction, Score, check_count, mean_score
from .encoders import Encoder


class ClipScore:
    """0 to 100, more is better; comparable between images of one encoder only."""

    name = "clip"
    version = "1"
    direction: Direction = "up"
    per_image = True
    min_n = 1

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._texts: dict[str, torch.Tensor] = {}

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`."""
        check_count(self, len(batch))
        new = [prompt for prompt in dict.fromkeys(batch.prompts) if prompt not in self._texts]
        if new:
            self._texts.update(zip(new, F.normalize(self.encoder.embed_texts(new), dim=-1), strict=True))
        texts = torch.stack([self._texts[prompt] for prompt in batch.prompts])
        cosine = (F.normalize(batch.embed(self.encoder), dim=-1).double() * texts.double()).sum(dim=-1)
        return mean_score(self, np.asarray(100 * cosine.clamp(min=0)))
