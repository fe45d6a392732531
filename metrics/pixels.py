"""Images as the guardrails read them: what several measures need is made once, in float32, on any device.

A plane's mean is taken row by row in float32, and over the rows in float64 on the CPU: a million pixels added up one
after another in float32 would lose digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch

BLOCK = 2**16
"""Pixels whose colours are read at a time: so many stay in a processor's cache."""
LUMA = (0.299, 0.587, 0.114)
"""Rec. 601."""


class Pixels:
    """Images (n, 3, H, W): levels 0..255 in uint8, read in float32, or floating point in 0..1."""

    def __init__(self, images: torch.Tensor) -> None:
        self._given, self._levels = images, images.dtype == torch.uint8

    @cached_property
    def images(self) -> torch.Tensor:
        """In 0..1."""
        return self._given.float().div_(255) if self._levels else self._given

    @cached_property
    def variation(self) -> torch.Tensor:
        """Luma less that of the first pixel (n, H, W): exactly 0 on an image of one colour, without rounding errors."""
        return _luma(self.images - self.images[..., :1, :1])

    @cached_property
    def luma(self) -> torch.Tensor:
        """Mean luma: float64 (n,) on the CPU, in 0..1."""
        return mean(self.variation) + mean(_luma(self.images[..., :1, :1].double()))

    @cached_property
    def clipped(self) -> torch.Tensor:
        """Values of a pixel's channels that are 0 or 255: float64 (n,) on the CPU."""
        ends = (self._given + 1) <= 1 if self._levels else (self.images <= 0) | (self.images >= 1)  # 255 + 1 is 0
        return ends.sum((1, 2, 3), dtype=torch.int32).cpu().double()

    @cached_property
    def chroma(self) -> torch.Tensor:
        """√(a*² + b*²) in CIELAB of sRGB, white point D65: (n, H, W)."""
        n, _, height, width = self._given.shape
        found = self.images.new_empty(n, height, width)
        rows = max(1, BLOCK // (n * width))
        for top in range(0, height, rows):
            here = slice(top, top + rows)
            found[:, here] = _chroma(self._given[:, :, here])
        return found

    @cached_property
    def power(self) -> torch.Tensor:
        """Of luma under a Hann window, its mean left out: (n, H, W // 2 + 1), the half of the plane that the other
        mirrors."""
        plane = self.variation
        window = _window(*plane.shape[-2:], plane.device, plane.dtype)
        plane = (plane - mean(plane).to(plane.device, plane.dtype)[:, None, None]) * window
        return torch.fft.rfft2(plane).abs().square() / math.prod(plane.shape[-2:])


def mean(planes: torch.Tensor) -> torch.Tensor:
    """Over each plane's positions, of planes (n, H, W): float64 (n,) on the CPU."""
    return planes.mean(-1).cpu().double().mean(-1)


def variance(planes: torch.Tensor) -> torch.Tensor:
    """Over each plane's positions, of planes (n, H, W): float64 (n,) on the CPU."""
    centre = mean(planes).to(planes.device, planes.dtype)
    return mean((planes - centre[:, None, None]).square())


@dataclass(frozen=True)
class Rings:
    """The half plane of frequencies (H, W // 2 + 1), in rings about one frequency step wide.

    Attributes:
        order: its places within 0.5 cycles a pixel, ring by ring. lengths: of each ring in it.
        counts: of the whole plane's places, float64 by ring.
        frequency: float64 by ring, in cycles a pixel.
        weights: how often a place stands in the whole plane (1 or 2), 0 for the mean. high: the same above a quarter
            cycle a pixel, else 0.
    """

    order: torch.Tensor
    lengths: torch.Tensor
    counts: torch.Tensor
    frequency: torch.Tensor
    weights: torch.Tensor
    high: torch.Tensor


@lru_cache(maxsize=8)
def rings(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Rings:
    """Those of maps of a size."""
    with torch.inference_mode(False):
        y, x = (each.double() for each in (torch.fft.fftfreq(height), torch.fft.rfftfreq(width)))
        radius = (y[:, None] ** 2 + x**2).sqrt()
        twice = torch.full_like(radius, 2.0)
        twice[:, 0] = 1
        if width % 2 == 0:
            twice[:, -1] = 1
        within = ((radius > 0) & (radius <= 0.5)).flatten().nonzero().squeeze(1)
        steps = min(height, width)
        ring = (radius.flatten()[within] * steps).round().long()
        order = within[ring.argsort(stable=True)]
        lengths = torch.bincount(ring)
        counts = torch.bincount(ring, weights=twice.flatten()[within])
        frequency = torch.arange(len(lengths), dtype=torch.float64) / steps
        weights = torch.where(radius > 0, twice, 0.0)
        high = torch.where(radius > 0.25, twice, 0.0)
        on_device = (each.to(device, dtype) for each in (weights, high))
        return Rings(order.to(device), lengths.to(device), counts, frequency, *on_device)


def ring_means(power: torch.Tensor, of: Rings) -> torch.Tensor:
    """Of power (n, H, W // 2 + 1): float64 (n, rings) on the CPU; NaN where a ring holds nothing."""
    weighted = (power * of.weights).flatten(1)[:, of.order]
    sums = torch.segment_reduce(weighted.T.contiguous(), "sum", lengths=of.lengths, axis=0)
    return sums.T.cpu().double() / of.counts


@lru_cache(maxsize=8)
def _window(height: int, width: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    with torch.inference_mode(False):
        sides = (torch.hann_window(side, dtype=torch.float64) for side in (height, width))
        return torch.outer(*sides).to(device, dtype)


_TO_XYZ = torch.tensor([
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
], dtype=torch.float64)  # fmt: skip


def _chroma(images: torch.Tensor) -> torch.Tensor:
    """As `Pixels.chroma`, of images as `Pixels` takes them."""
    if images.dtype == torch.uint8:
        table = _light(torch.arange(256, dtype=torch.float64) / 255).float().to(images.device)
        linear = table.index_select(0, images.flatten().int()).view(images.shape)
    else:
        linear = _light(images)
    xyz = (_TO_XYZ / _TO_XYZ.sum(1, keepdim=True)).to(linear) @ linear.flatten(2)
    knee = 6 / 29
    line = (xyz - knee**3).clamp_(max=0).div_(3 * knee**2)
    f = xyz.clamp_(min=knee**3).pow_(1 / 3).add_(line)
    x, y, z = f.unflatten(2, images.shape[-2:]).unbind(1)
    found = torch.hypot((x - y).mul_(500), (y - z).mul_(200))
    # Grey has none. Found so it has a rounding error, and among grey images that would be all that there is to measure.
    return found.masked_fill_(images.amax(1) == images.amin(1), 0.0)


def _light(values: torch.Tensor) -> torch.Tensor:
    """Of sRGB's values in 0..1."""
    return torch.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _luma(images: torch.Tensor) -> torch.Tensor:
    return torch.einsum("c,nchw->nhw", images.new_tensor(LUMA), images)
