"""A worse image scores worse, and a wrong prompt too: the embedded model's own scorers on true renders."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import metrics
from configs import path, read_yaml
from freeu.shapes.degrade import degrade
from freeu.shapes.draw import draw
from freeu.shapes.prompts import prompts
from metrics.base import Batch, Metric

N = 64
SPEC = read_yaml(path("models", "shapes.yaml"))


def scorer(name: str) -> Metric:
    return metrics.build(name, SPEC["scorers"], "cpu", path("models"), SPEC["reference"])


@pytest.fixture(scope="module")
def renders() -> Batch:
    """Scenes that no training saw, with their captions."""
    drawn = prompts(N, seed=77)
    images = torch.stack([torch.from_numpy(draw(scene).copy()).permute(2, 0, 1) for _, scene in drawn])
    return Batch(images, tuple(prompt for prompt, _ in drawn))


@pytest.mark.parametrize("name", ["aesthetic", "fid"])
def test_spoiled_images_score_worse(name: str, renders: Batch) -> None:
    """Blur, noise, ringing, banding, saturation or gamma, one an image, in three strengths."""
    metric = scorer(name)
    values = [metric.score(renders).value]
    for amount in (0.2, 0.5, 1.0):
        spoiled = degrade(renders.images, np.full(N, amount), np.random.default_rng(0))
        values.append(metric.score(Batch(spoiled, renders.prompts)).value)
    worse = [-value for value in values] if metric.direction == "up" else values
    assert worse == sorted(worse) and len(set(worse)) == 4


def test_blur_alone_moves_fid_away(renders: Batch) -> None:
    fid = scorer("fid")
    small = torch.nn.functional.avg_pool2d(renders.images.float(), 4)
    blurred = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear").round().byte()
    before, after = fid.score(renders), fid.score(Batch(blurred, renders.prompts))
    assert after.value - before.value > 5 * before.spread


def test_clip_prefers_the_true_caption(renders: Batch) -> None:
    clip = scorer("clip")
    true = clip.score(renders).per_image
    wrong = clip.score(Batch(renders.images, (*renders.prompts[1:], renders.prompts[0]))).per_image
    assert true is not None and wrong is not None
    # A neighbour's caption can share most of its words, so not all 64.
    assert (true > wrong).mean() > 0.9
