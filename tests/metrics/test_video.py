"""Consistency of frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from metrics.base import Batch, MetricError
from metrics.encoders import encoder
from metrics.video import Consistency
from tests.metrics.conftest import CLIP


def test_neighbouring_frames(models: Path, images: torch.Tensor) -> None:
    reads = encoder(CLIP, "cpu", models)
    score = Consistency(reads).score(Batch(images, ("a",) * 24, frames=4))
    unit = F.normalize(reads.embed_images(images).double(), dim=1).view(6, 4, -1)
    wanted = [100 * np.mean([float(video[i] @ video[i + 1]) for i in range(3)]) for video in unit]
    np.testing.assert_allclose(score.per_image, wanted, rtol=1e-6)
    assert score.n == 6
    still = Consistency(reads).score(Batch(images[:1].expand(4, -1, -1, -1), ("a",) * 4, frames=4))
    assert still.value == pytest.approx(100)


def test_images_are_no_video(models: Path, images: torch.Tensor) -> None:
    with pytest.raises(MetricError, match="between the frames of a video"):
        Consistency(encoder(CLIP, "cpu", models)).score(Batch(images, ("a",) * 24))
