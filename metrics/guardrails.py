"""FreeU's known failures, measured on the pixels: colours too strong, clipped or flat; detail lost or overdone.

None has a better direction: what counts is whether FreeU moves an image further from the baseline's than the base
model's own images differ from seed to seed (see `search.evaluation.guardrails`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from .base import Batch, Direction, MetricError, Score, check_count, mean_score
from .encoders import Encoder

PART = 64
"""Images that are measured at a time."""
SMALLEST = 8
"""Pixels of a side below which an image has no detail to measure."""
LUMA = (0.299, 0.587, 0.114)
"""Rec. 601."""


class Guardrail:
    """One of `GUARDRAILS` as a metric of each image."""

    version = "2"
    direction: Direction = "none"
    per_image = True
    min_n = 1

    def __init__(self, name: str) -> None:
        self.name = name

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`. Raises MetricError for images too small to have detail."""
        check_count(self, len(batch))
        measure, (height, width) = GUARDRAILS[self.name], batch.images.shape[-2:]
        if measure in (spectral_slope, high_band, sharpness) and min(height, width) < SMALLEST:
            raise MetricError(
                f"{self.name} needs images of at least {SMALLEST}×{SMALLEST} pixels, and these are {width}×{height}"
            )
        found = [measure(part.double() / 255) for part in batch.images.split(PART)]
        return mean_score(self, np.asarray(torch.cat(found)))


class Drift:
    """Distance of an image from the baseline's (same prompt and seed), as an encoder sees it: 100 (1 - cos), 0 to 200.

    A departure, not a quality.
    """

    name = "drift"
    version = "1"
    direction: Direction = "none"
    per_image = True
    min_n = 1

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`; the batch names its base. Raises MetricError where it has none, or another number."""
        check_count(self, len(batch))
        if batch.base is None or len(batch.base) != len(batch):
            raise MetricError(
                "drift is the distance from the baseline's images: give as many of them, in the same order (--base)"
            )
        here, there = (F.normalize(each.embed(self.encoder), dim=-1).double() for each in (batch, batch.base))
        return mean_score(self, np.asarray(100 * (1 - (here * there).sum(-1))))


def colourfulness(images: torch.Tensor) -> torch.Tensor:
    """Hasler and Süsstrunk's (SPIE 2003), of images (n, 3, H, W) in 0..1: (n,), 0 for grey, about 60 for colourful."""
    red, green, blue = (255 * images).unbind(1)
    opponents = torch.stack([red - green, (red + green) / 2 - blue], dim=1).flatten(2)
    spread = opponents.var(dim=2, correction=0).sum(1).sqrt()
    return spread + 0.3 * opponents.mean(dim=2).square().sum(1).sqrt()


def saturation(images: torch.Tensor) -> torch.Tensor:
    """Mean chroma in CIELAB (D65): (n,), 0 for grey, 105 for pure red."""
    return chroma(images).flatten(1).mean(1)


def saturation_peak(images: torch.Tensor) -> torch.Tensor:
    """95th percentile of chroma in CIELAB: (n,)."""
    return chroma(images).flatten(1).quantile(0.95, dim=1)


def clipping(images: torch.Tensor) -> torch.Tensor:
    """Share of values of a pixel's channels that are 0 or 255: (n,) in 0..1."""
    return ((images <= 0) | (images >= 1)).double().flatten(1).mean(1)


def luma(images: torch.Tensor) -> torch.Tensor:
    """Mean luma: (n,) in 0..1."""
    return _luma(images).flatten(1).mean(1)


def contrast(images: torch.Tensor) -> torch.Tensor:
    """RMS contrast, the standard deviation of luma: (n,) in 0..0.5."""
    return _variation(images).flatten(1).std(1, correction=0)


def spectral_slope(images: torch.Tensor) -> torch.Tensor:
    """Slope of the log power of luma over log frequency, by least squares: (n,), about -2 for photographs."""
    power, radius = _spectrum(images)
    within = (radius > 0) & (radius <= 0.5)
    # Each ring of about one frequency step counts once, so that the many high frequencies don't drown the low.
    steps = min(images.shape[-2:])
    ring = (radius[within] * steps).round().long()
    counts = torch.bincount(ring)
    used = counts > 0
    used[0] = False  # on an oblong image the first ring can round to nothing
    means = torch.zeros(len(power), len(counts), dtype=power.dtype).index_add_(1, ring, power[:, within])
    y = (means[:, used] / counts[used] + 1e-12).log()
    x = (torch.arange(len(counts))[used] / steps).log().double()
    x = x - x.mean()
    return (y * x).sum(1) / x.square().sum()


def high_band(images: torch.Tensor) -> torch.Tensor:
    """Share of luma's power, its mean left out, above a quarter cycle a pixel (half of what there can be): (n,)."""
    power, radius = _spectrum(images)
    whole = power[:, radius > 0].sum(1)
    return power[:, radius > 0.25].sum(1) / (whole + 1e-12)


def sharpness(images: torch.Tensor) -> torch.Tensor:
    """Variance of the Laplacian of luma: (n,)."""
    kernel = images.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    return F.conv2d(_variation(images)[:, None], kernel).flatten(1).var(1, correction=0)


GUARDRAILS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    each.__name__: each
    for each in (
        colourfulness,
        saturation,
        saturation_peak,
        clipping,
        luma,
        contrast,
        spectral_slope,
        high_band,
        sharpness,
    )
}


def chroma(images: torch.Tensor) -> torch.Tensor:
    """√(a*² + b*²) in CIELAB of sRGB images (n, 3, H, W) in 0..1, white point D65: (n, H, W)."""
    linear = torch.where(images <= 0.04045, images / 12.92, ((images + 0.055) / 1.055) ** 2.4)
    to_xyz = images.new_tensor([
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ])  # fmt: skip
    xyz = torch.einsum("ij,njhw->nihw", to_xyz / to_xyz.sum(1, keepdim=True), linear)
    knee = 6 / 29
    f = torch.where(xyz > knee**3, xyz.clamp(min=knee**3) ** (1 / 3), xyz / (3 * knee**2) + 4 / 29)
    x, y, z = f.unbind(1)
    found = ((500 * (x - y)) ** 2 + (200 * (y - z)) ** 2).sqrt()
    # Grey has none. Found so it has a rounding error, and among grey images that would be all that there is to measure.
    return torch.where(images.amax(1) == images.amin(1), 0.0, found)


def _luma(images: torch.Tensor) -> torch.Tensor:
    return torch.einsum("c,nchw->nhw", images.new_tensor(LUMA), images)


def _variation(images: torch.Tensor) -> torch.Tensor:
    """Luma less that of the first pixel (n, H, W): exactly 0 on an image of one colour, without rounding errors."""
    return _luma(images - images[..., :1, :1])


def _spectrum(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(power (n, H, W) of luma under a Hann window, frequency (H, W) in cycles a pixel)."""
    plane = _variation(images)
    height, width = plane.shape[-2:]
    window = torch.outer(*(torch.hann_window(side, dtype=plane.dtype) for side in (height, width)))
    plane = (plane - plane.mean((1, 2), keepdim=True)) * window
    power = torch.fft.fft2(plane).abs().square() / math.prod(plane.shape[-2:])
    y, x = (torch.fft.fftfreq(side, dtype=plane.dtype) for side in (height, width))
    return power, (y[:, None] ** 2 + x**2).sqrt()
