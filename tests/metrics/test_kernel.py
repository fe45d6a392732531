"""KID and CMMD: against torchmetrics, against a double loop, and unbiased."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import metrics
from metrics.base import Batch, MetricError
from metrics.kernel import MOST, KernelDistance
from metrics.reference import Reference
from tests.metrics.conftest import encoder_of


def drawn(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (n, d))


def by_pairs(x: np.ndarray, y: np.ndarray, kernel) -> float:
    """The definition, a pair at a time."""
    xx = [kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    yy = [kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
    xy = [kernel(a, b) for a in x for b in y]
    return float(np.mean(xx) + np.mean(yy) - 2 * np.mean(xy))


def test_the_spread_of_videos_is_over_videos() -> None:
    """Against a jackknife by hand that leaves out two of 16 videos; by frames it is far too small."""
    features = np.repeat(drawn(16, 4, 1), 8, axis=0) + 0.1 * drawn(128, 4, 2)
    encoder = encoder_of(4)
    metric = KernelDistance("kid", encoder, Reference.of(drawn(64, 4, 3)))
    batch = Batch(torch.zeros(128, 3, 4, 4, dtype=torch.uint8), ("",) * 128, frames=8)
    batch._made[encoder.identity] = torch.from_numpy(features)
    videos = features.reshape(16, 8, 4)
    without = [metric.distance(np.delete(videos, [i, i + 8], axis=0).reshape(-1, 4)) for i in range(8)]
    wanted = np.sqrt(7 / 8 * np.square(without - np.mean(without)).sum())
    assert metric.score(batch).spread == pytest.approx(wanted)
    assert wanted > 2 * metric.score(replace(batch, frames=1)).spread


@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 6), st.integers(0, 99))
def test_the_definitions(n: int, m: int, d: int, seed: int) -> None:
    x, y = drawn(n, d, seed), drawn(m, d, seed + 100, 0.5)
    wanted = by_pairs(x, y, lambda a, b: (a @ b / d + 1) ** 3)
    assert metrics.kid(x, y) == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    x, y = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (x, y))
    wanted = 1000 * by_pairs(x, y, lambda a, b: np.exp(-np.square(a - b).sum() / 200))
    assert metrics.cmmd(x, y) == pytest.approx(wanted, rel=1e-7, abs=1e-9)
    assert metrics.cmmd(3 * x, 0.2 * y) == pytest.approx(metrics.cmmd(x, y), rel=1e-9, abs=1e-9)


def test_kid_is_torchmetrics_of_the_whole_sets() -> None:
    from torchmetrics.image.kid import poly_mmd

    x, y = drawn(60, 32, 0), drawn(60, 32, 1, 0.3)
    kernel = [torch.from_numpy((a @ b.T / 32 + 1) ** 3) for a, b in ((x, x), (x, y), (y, y))]
    from torchmetrics.image.kid import maximum_mean_discrepancy

    assert metrics.kid(x, y) == pytest.approx(float(maximum_mean_discrepancy(*kernel)), rel=1e-6)
    assert metrics.kid(x, y) == pytest.approx(float(poly_mmd(torch.from_numpy(x), torch.from_numpy(y))), rel=1e-6)


@pytest.mark.parametrize("name", ["kid", "cmmd"])
@pytest.mark.parametrize("rows", [1024, 7])
def test_many_sets_of_one_pool_are_as_one_by_one(name: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of sets that repeat rows and differ in size; the reference's own kernel is computed once, not for each."""
    monkeypatch.setattr("metrics.kernel.ROWS", rows)
    pool, rng = drawn(24, 6, 0), np.random.default_rng(1)
    reference = drawn(40, 6, 2, 0.5)
    metric = KernelDistance(name, encoder_of(6), Reference.of(reference))
    sets = [np.arange(12), np.arange(12, 24), *(rng.integers(24, size=n) for n in (2, 12, 30))]
    wanted = [getattr(metrics, name)(pool[each], reference) for each in sets]
    seen, within = [], metrics.kernel._within
    monkeypatch.setattr("metrics.kernel._within", lambda x, kernel: seen.append(len(x)) or within(x, kernel))
    np.testing.assert_allclose(metric.distances(pool, sets), wanted, rtol=1e-9, atol=1e-9)
    assert seen == [40]
    assert metric.distance(pool[sets[0]]) == pytest.approx(wanted[0], rel=1e-9) and seen == [40, 12]
    with pytest.raises(MetricError, match="NaN"):
        metric.distances(np.full((4, 6), np.nan), [np.arange(4)])


@pytest.mark.parametrize("name", ["kid", "cmmd"])
def test_unbiased_at_any_number_of_images(name: str) -> None:
    """Sets of one distribution are 0 apart on average, however few; and the parts of a large set do not matter."""
    distance = getattr(metrics, name)
    found = np.array([distance(drawn(8, 16, 2 * i), drawn(12, 16, 2 * i + 1)) for i in range(400)])
    assert abs(found.mean()) < 4 * found.std() / 20  # four standard errors
    assert (found < 0).any()
    far = np.mean([distance(drawn(8, 16, 2 * i), drawn(12, 16, 2 * i + 1, 1.0)) for i in range(400)])
    many = distance(drawn(1500, 16, 1), drawn(1500, 16, 2, 1.0))
    assert far == pytest.approx(many, rel=0.1)


def test_rounding_does_not_drown_a_small_distance() -> None:
    """Embeddings that are nearly alike: the Gaussian kernel is 1 - 1e-7 all over, and the distance is 1e-7 of that."""
    from mpmath import mp, mpf

    base = np.ones(8)
    x, y = (base + 1e-3 * drawn(5, 8, seed) for seed in (0, 1))
    x, y = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (x, y))
    mp.dps = 40

    def kernel(a, b):
        return mp.exp(-sum((mpf(p) - mpf(q)) ** 2 for p, q in zip(a, b, strict=True)) / 200)

    xx = [kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    yy = [kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
    xy = [kernel(a, b) for a in x for b in y]
    wanted = 1000 * (sum(xx) / len(xx) + sum(yy) / len(yy) - 2 * sum(xy) / len(xy))
    assert metrics.cmmd(x, y) == pytest.approx(float(wanted), rel=1e-4)


@pytest.mark.parametrize(("x", "y", "said"), [
    (np.ones((1, 3)), np.ones((4, 3)), "2 or more"),
    (np.ones((4, 3)), np.ones((4, 2)), "are expected"),
    (np.ones(4), np.ones((4, 2)), "are expected"),
    (np.full((4, 2), np.nan), np.ones((4, 2)), "NaN"),
    (np.ones((4, 2)), np.full((4, 2), np.inf), "infinity"),
])  # fmt: skip
def test_what_cant_be_compared(x: np.ndarray, y: np.ndarray, said: str) -> None:
    for distance in (metrics.kid, metrics.cmmd):
        with pytest.raises(MetricError, match=said):
            distance(x, y)


def test_an_embedding_without_a_direction() -> None:
    with pytest.raises(MetricError, match="1 of 4 embeddings have length 0"):
        metrics.cmmd(np.vstack([np.ones((3, 2)), np.zeros((1, 2))]), np.ones((4, 2)))


def test_a_large_reference_is_drawn_from_by_a_seed() -> None:
    features = drawn(MOST + 500, 4, 3)
    one, two = (KernelDistance("kid", encoder_of(4), Reference.of(features)) for _ in range(2))
    x = drawn(20, 4, 9)
    assert one.distance(x) == two.distance(x)
    assert one.distance(x) != metrics.kid(x, features)
    assert one.distance(x) == pytest.approx(metrics.kid(x, features), abs=0.2)


def test_a_reference_without_features_is_told() -> None:
    with pytest.raises(MetricError, match="kid needs the features of the reference's images"):
        KernelDistance("kid", encoder_of(2), Reference(np.zeros(2), np.eye(2)))
