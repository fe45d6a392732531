"""The skip filter against the paper's FFT, and against gains worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import freeu
from freeu.factors import FactorsError
from tests.literal import fft_filter, scaled_backbone

SIZES = [(16, 16), (64, 64), (17, 17), (33, 31), (24, 40), (12, 20), (2, 2), (3, 5), (1, 1), (1, 6), (5, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [0.0, 0.2, 0.9, 1.7, -1.0])
def test_agrees_with_the_fft(size: tuple[int, int], scale: float) -> None:
    x = torch.randn(2, 5, *size, generator=torch.Generator().manual_seed(0))
    assert (freeu.skip_filter(x, scale) - fft_filter(x, scale)).abs().max() <= 1e-5


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(4, 40),
    width=st.integers(4, 40),
    threshold=st.integers(1, 4),
    scale=st.floats(-2, 3),
    seed=st.integers(0, 9),
)
def test_agrees_with_the_fft_for_any_size_and_threshold(height, width, threshold, scale, seed) -> None:
    threshold = min(threshold, height // 2, width // 2)
    x = torch.randn(1, 2, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(
        freeu.skip_filter(x, scale, threshold), fft_filter(x, scale, threshold), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize(
    ("wave", "gain"),
    [
        ((0, 0), 0.2),
        ((0, 1), 0.6),
        ((1, 0), 0.6),
        ((1, 1), 0.6),
        ((1, -1), 1.0),
        ((0, 2), 1.0),
        ((3, 0), 1.0),
    ],
)
def test_gains_by_frequency(wave: tuple[int, int], gain: float) -> None:
    """facts: s at zero, (1 + s) / 2 at (0, ±1), (±1, 0), ±(1, 1), and 1 at ±(1, -1) and beyond."""
    rows, columns = torch.arange(16.0)[:, None] / 16, torch.arange(16.0)[None, :] / 16
    x = torch.cos(2 * math.pi * (wave[0] * rows + wave[1] * columns) + 0.3)[None, None]
    torch.testing.assert_close(freeu.skip_filter(x, 0.2), gain * x, atol=1e-5, rtol=0)


def test_a_scale_of_one_changes_nothing() -> None:
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(freeu.skip_filter(x, 1.0), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(dtype: torch.dtype) -> None:
    x = (torch.randn(1, 4, 64, 64) + 8).to(dtype)
    wanted = fft_filter(x.double(), 0.2)
    # The mean of 8 over 4096 positions must not drift: what is left is one rounding of values below 16.
    assert (freeu.skip_filter(x, 0.2).double() - wanted).abs().max() <= 16 * torch.finfo(dtype).eps


@pytest.mark.parametrize("threshold", [0, -1, 5])
def test_a_box_larger_than_the_map_is_refused(threshold: int) -> None:
    with pytest.raises(FactorsError, match=rf"threshold is {threshold} for a map of 8 x 12"):
        freeu.skip_filter(torch.zeros(1, 1, 8, 12), 0.5, threshold)


def test_each_sample_has_its_own_scale() -> None:
    x = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    found = freeu.skip_filter(x, torch.tensor([0.2, 1.0, -1.0]), high=torch.tensor([1.0, 1.0, 0.5]))
    for row, (scale, high) in enumerate([(0.2, 1.0), (1.0, 1.0), (-1.0, 0.5)]):
        torch.testing.assert_close(found[row], freeu.skip_filter(x[row], scale, high=high))
    assert torch.equal(found[1], x[1])


@settings(deadline=None, max_examples=80)
@given(
    shape=st.tuples(
        st.integers(1, 3),
        st.integers(1, 9),
        st.integers(1, 9),
        st.integers(1, 3),
        st.integers(2, 20),
        st.integers(2, 20),
    ),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    b=st.floats(-1, 3),
    s=st.floats(-1, 3),
    version=st.sampled_from(["v1", "v2"]),
    threshold=st.integers(1, 4),
    window=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    high=st.floats(-1, 2),
    seed=st.integers(0, 9),
)
def test_modulate_is_the_literal_method(shape, dtype, b, s, version, threshold, window, high, seed) -> None:
    """Over shapes with and without frames, types, and factors, zero and below included."""
    n, c, d, frames, height, width = shape
    threshold = min(threshold, height // 2, width // 2)
    random = torch.Generator().manual_seed(seed)
    hidden, skip = (torch.randn(n, k, frames, height, width, generator=random).to(dtype) for k in (c, d))
    kept = hidden.clone(), skip.clone()
    found = freeu.modulate(hidden, skip, b, s, version, threshold, high=high, offset=window[0], width=window[1])
    assert torch.equal(hidden, kept[0]) and torch.equal(skip, kept[1])
    exact = [x.double().transpose(1, 2).flatten(0, 1) for x in kept]
    wanted = (
        scaled_backbone(exact[0], b, version, *window),
        fft_filter(exact[1], s, threshold, high),
    )
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == dtype
        flat = ours.double().transpose(1, 2).flatten(0, 1)
        # In half precision one rounding of the result; in float32 and float64 a few.
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(flat, theirs, atol=16 * eps * float(theirs.abs().max() + 1), rtol=0)


def test_frames_are_maps_of_their_own() -> None:
    hidden, skip = (torch.randn(2, k, 3, 6, 6, generator=torch.Generator().manual_seed(k)) for k in (4, 5))
    found = freeu.modulate(hidden, skip, 1.5, 0.2)
    apart = freeu.modulate(*(x.transpose(1, 2).flatten(0, 1) for x in (hidden, skip)), 1.5, 0.2)
    for together, each in zip(found, apart, strict=True):
        torch.testing.assert_close(together.transpose(1, 2).flatten(0, 1), each)
