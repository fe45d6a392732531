"""The Fréchet distance against known values, other implementations, and its own slow form."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import linalg

import metrics
from metrics.base import Batch, MetricError
from metrics.encoders import Encoder
from metrics.fid import Fid, null_floor
from metrics.reference import Reference


def by_eigenvalues(mu1, sigma1, mu2, sigma2) -> float:
    """The textbook form, by the eigenvalues of the product of the covariances."""
    roots = np.sqrt(linalg.eigvals(sigma1 @ sigma2).astype(complex)).real.sum()
    return float(np.square(mu1 - mu2).sum() + np.trace(sigma1) + np.trace(sigma2) - 2 * roots)


def pixels_encoder(d: int) -> Encoder:
    """Features are the first d pixels: no network, so every number is known."""
    return Encoder("pixels", f"pixels-{d}", lambda images: images.flatten(1)[:, :d].double())


def batch_of(features: np.ndarray) -> Batch:
    """Images whose first pixels are these features (n, d), whole numbers from 0 to 255."""
    images = torch.zeros(len(features), 3, 8, 8, dtype=torch.uint8)
    images.flatten(1)[:, : features.shape[1]] = torch.from_numpy(features.astype(np.uint8))
    return Batch(images, ("",) * len(features))


def whole(n: int, d: int, seed: int) -> np.ndarray:
    mix = np.random.default_rng(99).normal(size=(d, d)) * 8
    return (128 + np.random.default_rng(seed).normal(size=(n, d)) @ mix).clip(0, 255).round()


@pytest.mark.parametrize(
    ("mu1", "sigma1", "mu2", "sigma2", "wanted"),
    [
        (np.zeros(64), np.eye(64), np.ones(64), np.eye(64), 64),
        ([0, 0, 0], np.diag([1, 4, 9]), [1, 2, 2], np.diag([4, 1, 16]), 12),
        ([0, 0], [[2, 1], [1, 2]], [0, 0], [[3, -1], [-1, 1]], 1.39727950),
        ([1, 2], [[2, 1], [1, 2]], [1, 2], [[2, 1], [1, 2]], 0),
        ([0, 0], np.zeros((2, 2)), [3, 4], np.zeros((2, 2)), 25),
    ],
)
def test_known_values(mu1, sigma1, mu2, sigma2, wanted) -> None:
    found = metrics.frechet_distance(*(np.array(part, float) for part in (mu1, sigma1, mu2, sigma2)))
    assert found == pytest.approx(wanted, abs=1e-8)


def test_at_inceptions_size() -> None:
    """Means 0 and 1, unit covariances, d = 2048: the distance is 2048."""
    eye = np.eye(2048)
    assert metrics.frechet_distance(np.zeros(2048), eye, np.ones(2048), eye) == pytest.approx(2048)


@pytest.mark.parametrize("n", [16, 40, 300])
def test_agrees_with_the_eigenvalue_form(n: int) -> None:
    """d = 60: fewer images than features, and more."""
    a, b = whole(500, 60, 1), whole(n, 60, 2)
    fid = Fid(pixels_encoder(60), Reference.of(a))
    mu, sigma = b.mean(axis=0), np.cov(b, rowvar=False)
    general = metrics.frechet_distance(fid.reference.mu, fid.reference.sigma, mu, sigma)
    assert fid.distance(b) == pytest.approx(general, rel=1e-7)
    assert fid.distance(b) == pytest.approx(by_eigenvalues(fid.reference.mu, fid.reference.sigma, mu, sigma), rel=1e-6)


@pytest.mark.parametrize("n", [24, 200])
def test_agrees_with_torchmetrics_on_the_same_features(n: int) -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Pixels(torch.nn.Module):
        num_features = 48

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)[:, :48].double()

    theirs = FrechetInceptionDistance(feature=Pixels(), input_img_size=(3, 8, 8)).set_dtype(torch.float64)
    real, made = whole(400, 48, 1), whole(n, 48, 2) * 0.9
    theirs.update(batch_of(real).images, real=True)
    theirs.update(batch_of(made).images, real=False)
    ours = Fid(pixels_encoder(48), Reference.of(real.astype(np.uint8))).score(batch_of(made))
    assert ours.value == pytest.approx(theirs.compute().item(), rel=1e-6)


def test_ill_conditioned_features() -> None:
    """One direction spans a million times the others, and one none at all: still the closed form of a pure shift."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 6)) * [1e3, 1, 1e-3, 1, 1, 0]
    fid = Fid(pixels_encoder(6), Reference.of(features))
    shift = np.array([1.0, 2, 0, 0, 0, 3])
    # The product's eigenvalues are off by some roundings of the greatest, 1e12 · 2.2e-16 in each of six directions;
    # the root of one near 1 by half of that.
    assert fid.distance(features) == pytest.approx(0, abs=7e-4)
    assert fid.distance(features + shift) == pytest.approx(14, abs=7e-4)


def test_further_images_score_worse() -> None:
    real = whole(400, 32, 1)
    fid = Fid(pixels_encoder(32), Reference.of(real))
    values = [fid.score(batch_of((whole(64, 32, 2) * scale).round())).value for scale in (1.0, 0.9, 0.7, 0.4)]
    assert values == sorted(values) and values[3] > 2 * values[0]


def test_the_score_says_what_it_rests_on() -> None:
    fid = Fid(pixels_encoder(32), Reference.of(whole(400, 32, 1)))
    images = batch_of(whole(64, 32, 2))
    score = fid.score(images)
    shuffled = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    again = fid.score(Batch(images.images[shuffled], images.prompts))
    assert score.per_image is None and score.n == 64 and score.direction == "down"
    assert 0 < score.spread < score.value
    assert again.value == pytest.approx(score.value, rel=1e-9)


def test_the_spread_is_that_of_new_draws() -> None:
    """The jackknife's standard error against the scatter of the distance over forty independent draws."""
    fid = Fid(pixels_encoder(4), Reference.of(whole(2000, 4, 1)))
    scores = [fid.score(batch_of(whole(200, 4, seed))) for seed in range(2, 42)]
    scatter = np.std([score.value for score in scores], ddof=1)
    assert 0.5 < np.mean([score.spread for score in scores]) / scatter < 2


def test_the_spread_of_videos_is_over_videos() -> None:
    """Sixteen frames of one video that are all the same tell no more than one of them."""
    fid = Fid(pixels_encoder(4), Reference.of(whole(2000, 4, 1)))
    few = whole(16, 4, 2)
    videos = replace(batch_of(np.repeat(few, 16, axis=0)), frames=16)
    # Means are equal; covariances, by n - 1, differ by 15 / 16 * 256 / 255, 6 %. Over seeds the two spreads differ by
    # up to 10 %; by frames the spread is 0, as each group holds the same images.
    assert fid.score(videos).spread == pytest.approx(fid.score(batch_of(few)).spread, rel=0.2)
    assert math.isnan(fid.score(replace(videos, frames=256)).spread)  # of one video nothing is known
    assert fid.score(replace(videos, frames=64)).spread > 0  # four of them, fewer than groups


def test_a_floor_shrinks_with_n() -> None:
    """The bias of small sets, by which a floor is needed at all: half the images, about twice the distance."""
    features = whole(1200, 32, 1)
    rng = np.random.default_rng(0)
    floors = [np.mean([null_floor(features, n, rng) for _ in range(4)]) for n in (100, 400)]
    assert floors[0] > 2 * floors[1] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((np.zeros(2), np.eye(2), np.zeros(3), np.eye(3)), r"\(2,\), \(2, 2\), \(3,\), \(3, 3\)"),
        ((np.array([0, np.nan]), np.eye(2), np.zeros(2), np.eye(2)), "NaN"),
    ],
)
def test_bad_statistics_are_refused(arguments, said: str) -> None:
    with pytest.raises(MetricError, match=said):
        metrics.frechet_distance(*arguments)


def test_too_few_images_are_refused() -> None:
    fid = Fid(pixels_encoder(4), Reference.of(whole(50, 4, 1)))
    with pytest.raises(MetricError, match="fid needs at least 16 images, found 15"):
        fid.score(batch_of(whole(15, 4, 2)))


def test_features_that_do_not_fit_the_reference_are_refused() -> None:
    fid = Fid(pixels_encoder(4), Reference.of(whole(50, 4, 1)))
    for features, said in ((np.zeros((20, 5)), r"needs features \(n, 4\)"), (np.zeros((1, 4)), "2 images or more")):
        with pytest.raises(MetricError, match=said):
            fid.distance(features)
    with pytest.raises(MetricError, match="NaN"):
        fid.distance(np.full((20, 4), np.nan))


def test_the_floor_is_what_real_images_get() -> None:
    features = np.random.default_rng(0).normal(size=(900, 8))
    fid = Fid(pixels_encoder(8), Reference.of(features))
    real = [fid.distance(np.random.default_rng(seed).normal(size=(100, 8))) for seed in range(1, 9)]
    assert fid.floor_at(100) == pytest.approx(np.mean(real), rel=0.4)
    assert fid.floor_at(451) is None
    assert Fid(pixels_encoder(8), Reference(np.zeros(8), np.eye(8))).floor_at(10) is None


@pytest.mark.parametrize("d", [20, 8])
def test_of_many_sets_at_once(d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is what `distance` gives: of sets smaller and larger than the features are wide, and of unequal ones."""
    fid = Fid(pixels_encoder(d), Reference.of(whole(400, d, 0)))
    pool, rng = whole(30, d, 1), np.random.default_rng(2)
    sets = list(rng.integers(30, size=(9, 12)))
    wanted = [fid.distance(pool[rows]) for rows in sets]
    # The root of an eigenvalue that is 0 up to rounding, 1e-16 of the largest, is 1e-8 of the largest's.
    assert fid.distances(pool, sets) == pytest.approx(wanted, rel=1e-6)
    monkeypatch.setattr("metrics.fid.AT_ONCE", 300)  # in parts
    assert fid.distances(pool, sets) == pytest.approx(wanted, rel=1e-6)
    assert fid.distances(pool, [sets[0], sets[1][:5]]) == pytest.approx([wanted[0], fid.distance(pool[sets[1][:5]])])
    pool[3, 0] = np.nan
    with pytest.raises(MetricError, match="hold NaN or infinity"):
        fid.distances(pool, [np.arange(5)])
