"""What every metric keeps to, whatever it measures: one fixture a metric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import metrics
from configs import UserError, identity
from metrics.base import Batch, MetricError
from metrics.encoders import Encoder, encoder
from tests.metrics.conftest import CLIP, RESNET
from tests.metrics.test_reward import HPSV3

PROMPTS = tuple(f"a photograph of {number} apples" for number in range(24))


VIDEOS = tuple(name for name, info in metrics.METRICS.items() if info.videos)
ALONE = (*VIDEOS, "cost", "drift", "image_reward")
"""Tested in files of their own: some take videos, one no pixels, one pairs, one a network of its own."""
IMAGES = [name for name in metrics.METRICS if name not in ALONE]


@pytest.fixture(params=IMAGES)
def metric(request: pytest.FixtureRequest, models: Path, images: torch.Tensor, tmp_path: Path):
    return build(request.param, models, images, tmp_path)


def build(name: str, models: Path, images: torch.Tensor, folder: Path):
    head = folder / "head.safetensors"
    draw = torch.Generator().manual_seed(2)
    tensors = {"layers.0.weight": torch.randn(1, 16, generator=draw), "layers.0.bias": torch.ones(1)}
    save_file(tensors, head, metadata={"encoder": identity(models / "clip")})
    files = []
    for reads in (RESNET, CLIP):
        one = encoder(reads, "cpu", models)
        features = one.embed_images(images.flip(-1)).double().numpy()
        files.append(folder / f"reference{len(files)}.npz")
        np.savez(files[-1], mu=features.mean(0), sigma=np.cov(features, rowvar=False), n=24, feats=features,
                 encoder=one.identity)  # fmt: skip
    scorers = {
        **dict.fromkeys(("clip", "hps", "pickscore", "imaging_quality"), CLIP),
        "aesthetic": {"kind": "aesthetic_head", "file": str(head), "encoder": CLIP},
        **{each: {"encoder": RESNET} for each in ("fid", "kid", "fd_dinov2")},
        "cmmd": {"encoder": CLIP},
        "vqa": {"source": "vision_language"},
        "hpsv3": HPSV3,
        "reward": {"source": "score"},
        "questions": {"source": "vision_language", "asked": {each: (each, "Is it red?") for each in PROMPTS}},
    }
    return metrics.build(name, scorers, "cpu", models, {"kind": "statistics", "file": list(map(str, files))})


def test_it_is_what_the_registry_says(metric) -> None:
    info = metrics.describe(metric.name)
    assert (info.direction, info.per_image, info.min_n, info.version, info.encoder) == (
        metric.direction,
        metric.per_image,
        metric.min_n,
        metric.version,
        hasattr(metric, "encoder") or hasattr(metric, "model"),
    )
    assert info.asks and info.reference == (not metric.per_image)


def test_a_score_is_complete_and_repeatable(metric, images: torch.Tensor) -> None:
    score, again = (metric.score(Batch(images, PROMPTS)) for _ in range(2))
    assert (score.metric, score.n, score.direction) == (metric.name, 24, metric.direction)
    assert np.isfinite(score.value) and score.spread >= 0
    assert score.spread > 0 or metric.name == "clipping"  # of these images none is clipped
    assert score.value == again.value
    if metric.per_image:
        assert score.per_image.dtype == np.float64 and score.per_image.shape == (24,)
        assert score.value == pytest.approx(score.per_image.mean())
        assert score.spread == pytest.approx(score.per_image.std(ddof=1) / np.sqrt(24))
    else:
        assert score.per_image is None


def test_the_order_of_the_batch_does_not_matter(metric, images: torch.Tensor) -> None:
    order = torch.randperm(24, generator=torch.Generator().manual_seed(3))
    plain = metric.score(Batch(images, PROMPTS))
    mixed = metric.score(Batch(images[order], tuple(PROMPTS[i] for i in order)))
    assert mixed.value == pytest.approx(plain.value, rel=1e-5)
    if metric.per_image:
        np.testing.assert_allclose(mixed.per_image, plain.per_image[order.numpy()], rtol=1e-4, atol=1e-4)


def test_an_image_is_scored_alone_as_in_a_batch(metric, images: torch.Tensor) -> None:
    if metric.per_image:
        whole = metric.score(Batch(images, PROMPTS)).per_image
        alone = metric.score(Batch(images[5:6], PROMPTS[5:6])).per_image
        np.testing.assert_allclose(alone, whole[5:6], rtol=1e-4, atol=1e-4)


def test_no_number_is_an_error_and_never_zero(metric, images: torch.Tensor) -> None:
    if not hasattr(metric, "encoder"):
        pytest.skip("reads pixels, which are always numbers; or is in test_vqa.py")
    texts = metric.encoder.texts
    metric.encoder = Encoder("broken", "broken", lambda part: torch.full((len(part), 16), torch.nan), texts)
    with pytest.raises(MetricError, match="NaN or infinity"):
        metric.score(Batch(images, PROMPTS))


def test_too_few_images_are_an_error(metric, images: torch.Tensor) -> None:
    few = metric.min_n - 1
    with pytest.raises(MetricError, match=f"needs at least {metric.min_n} images, found {few}"):
        metric.score(Batch(images[:0] if few == 0 else images[:few], PROMPTS[:few]))


def test_each_encoder_sees_an_image_once(models: Path, images: torch.Tensor, tmp_path: Path) -> None:
    both = [build(name, models, images, tmp_path) for name in ("clip", "aesthetic")]
    calls: list[int] = []
    real = both[0].encoder
    counting = Encoder(real.name, real.identity, lambda part: calls.append(len(part)) or real.images(part), real.texts)
    batch = Batch(images, PROMPTS)
    for metric in both:
        metric.encoder = counting
        metric.score(batch)
    assert sum(calls) == 24


def test_unknown_metrics_and_kinds_suggest_the_nearest(models: Path) -> None:
    with pytest.raises(UserError, match="unknown metric 'clp': did you mean 'clip'"):
        metrics.describe("clp")
    with pytest.raises(UserError, match="no scorer for 'fid': the YAML names clip"):
        metrics.build("fid", {"clip": CLIP}, "cpu", models)
    with pytest.raises(UserError, match="did you mean 'open_clip'"):
        encoder({"kind": "openclip"}, "cpu", models)


@pytest.mark.parametrize(
    ("shape", "dtype", "prompts"),
    [((2, 1, 8, 8), torch.uint8, 2), ((2, 3, 8, 8), torch.float32, 2), ((2, 3, 8, 8), torch.uint8, 1)],
)
def test_batches_are_checked(shape, dtype, prompts: int) -> None:
    with pytest.raises(MetricError, match="images"):
        Batch(torch.zeros(shape, dtype=dtype), ("a",) * prompts)
