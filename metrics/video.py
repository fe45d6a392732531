"""Metrics of videos as such; the others score each frame as an image.

After VBench's dimensions (Huang et al., arXiv 2311.17982), without its networks for flow and interpolation: smoothness
and motion are of pixels, so they are not comparable with VBench's numbers. A still picture scores best in all of them
but `motion`, which therefore bounds a search (`search.evaluation.guardrails`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from .base import Batch, Direction, MetricError, Score, check_count, mean_score
from .encoders import Encoder

CELL = 8
"""Of motion: pixels of a side that are averaged, so that noise counts an eighth of what movement does."""


def neighbours(unit: torch.Tensor) -> torch.Tensor:
    """Mean cosine of neighbouring frames, times 100. unit: float64 (videos, frames, d), of length 1."""
    return 100 * (unit[:, 1:] * unit[:, :-1]).sum(-1).mean(1)


def anchored(unit: torch.Tensor) -> torch.Tensor:
    """VBench's: the mean of the cosines to the frame before and to the first, times 100: drift counts, too."""
    first = 100 * (unit[:, 1:] * unit[:, :1]).sum(-1).mean(1)
    return (neighbours(unit) + first) / 2


def smoothness(frames: torch.Tensor) -> torch.Tensor:
    """100 less how far a frame is from the mean of its two neighbours, in percent of the range. frames: float64
    (videos, frames, 3, H, W) in 0..1, three at least."""
    between = (frames[:, 2:] + frames[:, :-2]) / 2
    return 100 * (1 - (frames[:, 1:-1] - between).abs().flatten(1).mean(1))


def steadiness(frames: torch.Tensor) -> torch.Tensor:
    """100 less the mean absolute difference of neighbouring frames, in percent of the range: VBench's flicker."""
    return 100 * (1 - (frames[:, 1:] - frames[:, :-1]).abs().flatten(1).mean(1))


def motion(frames: torch.Tensor) -> torch.Tensor:
    """The mean absolute difference of neighbouring frames, coarsely seen, in percent of the range; 0 for a still."""
    cell = min(CELL, *frames.shape[-2:])
    coarse = F.avg_pool2d(frames.flatten(0, 1), cell).unflatten(0, frames.shape[:2])
    return 100 * (coarse[:, 1:] - coarse[:, :-1]).abs().flatten(1).mean(1)


OF_EMBEDDINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "consistency": neighbours,
    "subject_consistency": anchored,
    "background_consistency": anchored,
}
OF_PIXELS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], Direction, int]] = {
    "motion_smoothness": (smoothness, "up", 3),
    "flicker": (steadiness, "up", 2),
    "motion": (motion, "none", 2),
}
"""What computes it, which way is better, and the frames that it takes."""


class Consistency:
    """Cosines between an encoder's embeddings of a video's frames, up to 100; more is steadier."""

    version = "1"
    direction: Direction = "up"
    per_image = True
    min_n = 1

    def __init__(self, encoder: Encoder, name: str = "consistency") -> None:
        """name: of `OF_EMBEDDINGS`."""
        self.encoder, self.name, self._measure = encoder, name, OF_EMBEDDINGS[name]

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`; one value for each video."""
        check_count(self, len(batch))
        _check_frames(self.name, batch, 2)
        unit = F.normalize(batch.embed(self.encoder), dim=-1).double().unflatten(0, (-1, batch.frames))
        return mean_score(self, np.asarray(self._measure(unit)))


class Movement:
    """What the pixels of a video's frames tell; one value for each video."""

    version = "1"
    per_image = True
    min_n = 1

    def __init__(self, name: str) -> None:
        """name: of `OF_PIXELS`."""
        self.name = name
        self._measure, self.direction, self._frames = OF_PIXELS[name]

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`."""
        check_count(self, len(batch))
        _check_frames(self.name, batch, self._frames)
        videos = batch.images.unflatten(0, (-1, batch.frames))
        found = [self._measure(video[None].double() / 255) for video in videos]
        return mean_score(self, torch.cat(found).numpy())


def _check_frames(name: str, batch: Batch, least: int) -> None:
    if batch.frames < least:
        what = "these are images" if batch.frames == 1 else f"these have {batch.frames}"
        raise MetricError(f"{name} is between the frames of a video, {least} at least, and {what}")
