"""Consistency of frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import metrics
from metrics.base import Batch, MetricError
from metrics.encoders import encoder
from metrics.video import OF_PIXELS, Consistency, Movement
from tests.metrics.conftest import CLIP, RESNET
from tests.metrics.test_contract import VIDEOS


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


@pytest.fixture(scope="module")
def moving() -> torch.Tensor:
    """uint8 (40, 3, 48, 48): 5 videos of 8 frames, in which a bright square goes to the right, at 1 to 5 pixels."""
    videos = torch.full((5, 8, 3, 48, 48), 40, dtype=torch.uint8)
    for speed, video in enumerate(videos, 1):
        for place, frame in enumerate(video):
            frame[:, 16:28, speed * place : speed * place + 12] = 200
    return videos.flatten(0, 1)


def build(name: str, models: Path):
    reads = {"encoder": CLIP if name != "subject_consistency" else RESNET}
    return metrics.build(name, {name: reads}, "cpu", models)


def noisy(frames: torch.Tensor) -> torch.Tensor:
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0))
    return (frames + 12 * noise).clamp(0, 255).byte()


@pytest.mark.parametrize("name", VIDEOS)
def test_every_metric_of_videos_keeps_the_contract(name: str, models: Path, moving: torch.Tensor) -> None:
    metric, info = build(name, models), metrics.describe(name)
    assert (info.direction, info.per_image, info.min_n, info.version) == (
        *(metric.direction, metric.per_image),
        *(metric.min_n, metric.version),
    )
    score, again = (metric.score(Batch(moving, ("a",) * 40, frames=8)) for _ in range(2))
    assert score.n == 5 and score.per_image.dtype == np.float64 and score.value == again.value
    assert score.value == pytest.approx(score.per_image.mean())
    order = torch.tensor([3, 0, 4, 1, 2])
    mixed = metric.score(Batch(moving.unflatten(0, (5, 8))[order].flatten(0, 1), ("a",) * 40, frames=8))
    np.testing.assert_allclose(mixed.per_image, score.per_image[order.numpy()], rtol=1e-5)
    alone = metric.score(Batch(moving[8:16], ("a",) * 8, frames=8))
    np.testing.assert_allclose(alone.per_image, score.per_image[1:2], rtol=1e-5)
    with pytest.raises(MetricError, match="between the frames of a video"):
        metric.score(Batch(moving, ("a",) * 40))


@pytest.mark.parametrize("name", [name for name in VIDEOS if name != "motion"])
def test_a_still_picture_is_best_and_flicker_is_worse(name: str, models: Path, moving: torch.Tensor) -> None:
    metric, still = build(name, models), moving[:1].expand(8, -1, -1, -1)
    best, good, bad = (
        metric.score(Batch(each, ("a",) * 8, frames=8)).value for each in (still, moving[:8], noisy(moving[:8]))
    )
    assert best == pytest.approx(100) and best > good > bad


def test_motion_is_what_a_still_picture_has_not(models: Path, moving: torch.Tensor) -> None:
    metric = build("motion", models)
    found = metric.score(Batch(moving, ("a",) * 40, frames=8)).per_image
    assert (np.diff(found) > 0).all()  # faster ones move more
    still = Batch(noisy(moving[:1].expand(8, -1, -1, -1)), ("a",) * 8, frames=8)
    by_pixel = 100 - build("flicker", models).score(still).value
    assert metric.score(still).value < by_pixel / 6  # of 64 pixels each noise's mean is an eighth


def test_a_known_video() -> None:
    """Black, white, black: neighbours differ by all, and the middle one from the mean of the others by all."""
    frames = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    frames[1] = 255
    values = {name: Movement(name).score(Batch(frames, ("a",) * 3, frames=3)).value for name in OF_PIXELS}
    assert values == {"motion_smoothness": 0, "flicker": 0, "motion": 100}
    frames[1] = 51
    frames[2] = 102
    values = {name: Movement(name).score(Batch(frames, ("a",) * 3, frames=3)).value for name in OF_PIXELS}
    assert values == pytest.approx({"motion_smoothness": 100, "flicker": 80, "motion": 20})
