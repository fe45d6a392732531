"""Spectra against NumPy's FFT and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from freeu.spectra import components, frequencies, parts, relative_log, spectrum

SIZES = [(16, 16), (13, 11), (12, 20), (5, 8), (4, 4), (1, 6)]


def by_numpy(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The definition, one frequency after the other, with the full transform and in float64."""
    n, _, height, width = maps.shape
    found = np.abs(np.fft.fft2(maps.astype(np.float64))) / math.sqrt(height * width)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    side = min(height, width)
    # rings in float32, as frequencies that lie on an edge between two have to fall the same way
    ring = np.round((np.sqrt(np.float32(radius**2)) * np.float32(side)).astype(np.float32))
    amplitude = np.stack([found.mean(1)[:, ring == k].mean(1) for k in range(side // 2 + 1)], axis=1)
    power = (found**2).sum(1)
    whole, high = power[:, radius > 0].sum(1), power[:, radius > 0.25].sum(1)
    return amplitude, np.divide(high, whole, out=np.full(n, np.nan), where=whole > 0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunk", [1, 500, 2**20])
def test_against_numpy(size: tuple[int, int], chunk: int) -> None:
    maps = torch.randn(3, 7, *size, generator=torch.Generator().manual_seed(0)) + 0.7
    amplitude, share = spectrum(maps, chunk)
    expected, expected_share = by_numpy(maps.numpy())
    # Sums of at most 7 x 240 values of some 10 in float32: errors of a few thousand units of 6e-8, relative.
    np.testing.assert_allclose(amplitude, expected, rtol=1e-4)
    np.testing.assert_allclose(share, expected_share, rtol=1e-4)


def test_one_wave_stands_in_its_ring() -> None:
    """cos(2 pi 3 x / 16): amplitude 1/2 at two frequencies of ring 3; times sqrt(HW) = 16, over the ring's count."""
    wave = torch.cos(2 * math.pi * 3 * torch.arange(16) / 16).expand(1, 1, 16, 16)
    amplitude, share = spectrum(wave)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(16), np.fft.fftfreq(16)))
    count = (np.round(radius * 16) == 3).sum()
    assert amplitude[0, 3] == pytest.approx(2 * 0.5 * 16 / count, rel=1e-5)
    assert amplitude[0].argmax() == 3
    assert share[0] == pytest.approx(0, abs=1e-10)
    high = torch.cos(2 * math.pi * 5 * torch.arange(16) / 16).expand(1, 1, 16, 16)
    assert spectrum(high)[1][0] == pytest.approx(1)
    assert spectrum(high + 2 * wave + 100)[1][0] == pytest.approx(1 / 5, rel=1e-4)  # the mean doesn't count


def test_nothing_that_varies_has_no_share() -> None:
    assert spectrum(torch.zeros(1, 2, 8, 8))[1].isnan().all()


def test_half_precision_is_summed_in_full() -> None:
    maps = 1000 * torch.rand(1, 300, 8, 8, generator=torch.Generator().manual_seed(0))
    halved = maps.half()
    assert torch.equal(spectrum(halved)[0], spectrum(halved.float())[0])
    assert spectrum(halved)[0].isfinite().all()


def test_white_noise_is_flat_and_relative_to_its_mean() -> None:
    maps = torch.randn(1, 4000, 16, 16, generator=torch.Generator().manual_seed(0))
    amplitude, share = spectrum(maps)
    # |F| of a complex normal is Rayleigh's, mean sqrt(pi)/2; of a real one, as at frequency 0, sqrt(2/pi). 4000 maps
    # give each frequency's mean within 1 % (its spread is 0.46 / sqrt(4000)).
    logs = relative_log(amplitude)[0]
    assert logs[0] == 0
    assert logs[1:8] == pytest.approx(math.log(math.sqrt(math.pi) / 2 / math.sqrt(2 / math.pi)), abs=0.03)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(16), np.fft.fftfreq(16)))
    assert share[0] == pytest.approx((radius > 0.25).sum() / 255, rel=0.01)
    assert frequencies(16, 20).tolist() == [k / 16 for k in range(9)]


@pytest.mark.parametrize("size", SIZES)
def test_parts_add_up_and_share_no_frequency(size: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    low, high = parts(maps)
    torch.testing.assert_close(low + high, maps)
    spectra = np.fft.fft2(low), np.fft.fft2(high)
    radius = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1])[None, :])
    assert np.abs(spectra[0][..., radius > 0.25]).max(initial=0) < 1e-4
    assert np.abs(spectra[1][..., radius <= 0.25]).max() < 1e-4


def test_components_are_found_where_they_were_put() -> None:
    random = torch.Generator().manual_seed(0)
    strong, weak = torch.randn(2, 2, 8, 8, generator=random)
    first, second = torch.linalg.qr(torch.randn(20, 2, generator=random))[0].T
    features = 5 * first[:, None, None] * strong[:, None] + second[:, None, None] * weak[:, None]
    found, share = components(features)
    assert found.shape == (2, 2, 8, 8)
    for i, planted in enumerate((strong, weak)):
        together = torch.corrcoef(torch.stack([found[:, i].flatten(), planted.flatten()]))
        assert abs(together[0, 1]) > 0.98  # the two are drawn at random, so not quite uncorrelated
    assert share[0] > 0.9 and share.sum() == pytest.approx(1)
    # One basis for all runs: equal runs are seen equal, and another run beside them moves both alike.
    again, _ = components(torch.cat([features, features]))
    torch.testing.assert_close(again[:2], again[2:])
