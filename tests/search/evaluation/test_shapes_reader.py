"""The embedded model's own judges keep the contract of tests/metrics/test_contract.py, and see what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from freeu.shapes import degrade
from freeu.shapes.caption import caption
from freeu.shapes.draw import draw
from freeu.shapes.scene import sample
from metrics import registry
from metrics.base import Batch, Metric, MetricError

KINDS = ("Objects", "Colours", "Relations", "RenderError")
N = 48


def judge(kind: str) -> Metric:
    return registry.build(f"search.evaluation.shapes_reader:{kind}", {}, "cpu", Path())


@pytest.fixture(scope="module")
def batch() -> Batch:
    """True renders, and what they show."""
    rng = np.random.default_rng(0)
    scenes = [sample(rng) for _ in range(N)]
    images = torch.stack([torch.as_tensor(np.array(draw(scene))).permute(2, 0, 1) for scene in scenes])
    return Batch(images, tuple(caption(scene, rng) for scene in scenes))


@pytest.mark.parametrize("kind", KINDS)
def test_the_contract(kind: str, batch: Batch) -> None:
    found, again = judge(kind).score(batch), judge(kind).score(Batch(batch.images, batch.prompts))
    assert found.per_image is not None and again.per_image is not None
    assert found.per_image.dtype == np.float64 and found.per_image.shape == (N,) and np.isfinite(found.per_image).all()
    assert (found.metric, found.direction) == (judge(kind).name, judge(kind).direction)
    assert found.value == again.value == pytest.approx(found.per_image.mean())

    order = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    mixed = judge(kind).score(Batch(batch.images[order], tuple(batch.prompts[i] for i in order))).per_image
    np.testing.assert_allclose(mixed, found.per_image[order.numpy()], rtol=1e-4, atol=1e-4)
    alone = judge(kind).score(Batch(batch.images[5:6], batch.prompts[5:6])).per_image
    np.testing.assert_allclose(alone, found.per_image[5:6], rtol=1e-4, atol=1e-4)
    with pytest.raises(MetricError, match="needs at least 1 images, found 0"):
        judge(kind).score(Batch(batch.images[:0], ()))


@pytest.mark.parametrize("kind", KINDS[:3])
def test_the_reader_sees_what_is_wrong(kind: str, batch: Batch) -> None:
    """True renders are right, and those of other scenes are not."""
    others = (*batch.prompts[1:], batch.prompts[0])
    right, wrong = (judge(kind).score(Batch(batch.images, each)).value for each in (batch.prompts, others))
    assert right > 90 > 60 > wrong


def test_the_error_is_of_what_is_shown_not_of_what_was_asked_for(batch: Batch) -> None:
    metric = judge("RenderError")
    found = metric.score(batch).value
    assert found == metric.score(Batch(batch.images, ("an astronaut",) * N)).value
    noisy = batch.images.float() / 255 + 0.1 * torch.randn(
        batch.images.shape, generator=torch.Generator().manual_seed(0)
    )
    spoiled = torch.stack([degrade.blur(image, 0.4) for image in batch.images.float() / 255])
    for worse in (noisy, spoiled):
        assert metric.score(Batch((255 * worse.clamp(0, 1)).byte(), batch.prompts)).value > 2 * found


def test_larger_images_are_made_as_small_as_the_scenes_are(batch: Batch) -> None:
    metric = judge("RenderError")
    doubled = batch.images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    found, small = (metric.score(Batch(images, batch.prompts)).value for images in (doubled, batch.images))
    assert found == pytest.approx(small, rel=0.5)
