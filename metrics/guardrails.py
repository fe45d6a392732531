"""FreeU's known failures, measured on the pixels: colours too strong, clipped or flat; detail lost or overdone.

None has a better direction: what counts is whether FreeU moves an image further from the baseline's than the base
model's own images differ from seed to seed (see `search.evaluation.guardrails`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional as F

from configs.cpu_batches import in_order

from .base import Batch, Direction, MetricError, Score, check_count, mean_score
from .encoders import Encoder
from .pixels import Pixels, Rings, mean, ring_means, rings, variance

PART = 2**20
"""Pixels that are measured at a time: an image of 1024."""
SMALLEST = 8
"""Pixels of a side below which an image has no detail to measure."""


class Guardrail:
    """One of `GUARDRAILS` as a metric of each image."""

    version = "2"
    direction: Direction = "none"
    per_image = True
    min_n = 1

    def __init__(self, name: str, device: str = "cpu", beside: Sequence[str] = ()) -> None:
        """device: that the pixels are read on. beside: others that are asked for too: they are measured with it."""
        self.name = name
        self._device = "cpu" if device == "mps" else device  # which has no sums by segment
        self._together = tuple(dict.fromkeys((name, *beside)))

    def score(self, batch: Batch) -> Score:
        """See `Metric.score`. Raises MetricError for images too small to have detail."""
        check_count(self, len(batch))
        height, width = batch.images.shape[-2:]
        if min(height, width) < SMALLEST and self.name in DETAIL:
            raise MetricError(
                f"{self.name} needs images of at least {SMALLEST}×{SMALLEST} pixels, and these are {width}×{height}"
            )
        large = [name for name in self._together if min(height, width) >= SMALLEST or name not in DETAIL]
        names = tuple(sorted(large))
        return mean_score(self, batch.once((names, self._device), lambda: self._measured(batch, names))[self.name])

    def _measured(self, batch: Batch, names: Sequence[str]) -> dict[str, np.ndarray]:
        """By name float64 (n,)."""

        @torch.inference_mode()
        def measured(part: torch.Tensor) -> list[torch.Tensor]:
            pixels = Pixels(part.to(self._device))
            return [GUARDRAILS[name](pixels) for name in names]

        images, most = batch.images, max(1, PART // math.prod(batch.images.shape[-2:]))
        if self._device == "cpu":
            found = in_order(len(images), most, lambda part: measured(images[part]))
        else:
            found = list(map(measured, images.split(most)))
        columns = zip(*found, strict=True)
        return {name: torch.cat(column).numpy() for name, column in zip(names, columns, strict=True)}


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


def colourfulness(pixels: Pixels) -> torch.Tensor:
    """Hasler and Süsstrunk's (SPIE 2003): (n,), 0 for grey, about 60 for colourful."""
    red, green, blue = pixels.images.unbind(1)
    opponents = (red - green, (red + green) / 2 - blue)
    spread = sum(variance(each) for each in opponents) ** 0.5
    return 255 * (spread + 0.3 * sum(mean(each) ** 2 for each in opponents) ** 0.5)


def saturation(pixels: Pixels) -> torch.Tensor:
    """Mean chroma in CIELAB (D65): (n,), 0 for grey, 105 for pure red."""
    return mean(pixels.chroma)


def saturation_peak(pixels: Pixels) -> torch.Tensor:
    """95th percentile of chroma in CIELAB: (n,)."""
    return pixels.chroma.flatten(1).quantile(0.95, dim=1).cpu().double()


def clipping(pixels: Pixels) -> torch.Tensor:
    """Share of values of a pixel's channels that are 0 or 255: (n,) in 0..1."""
    return pixels.clipped / math.prod(pixels.images.shape[1:])


def luma(pixels: Pixels) -> torch.Tensor:
    """Mean luma: (n,) in 0..1."""
    return pixels.luma


def contrast(pixels: Pixels) -> torch.Tensor:
    """RMS contrast, the standard deviation of luma: (n,) in 0..0.5."""
    return variance(pixels.variation).sqrt()


def spectral_slope(pixels: Pixels) -> torch.Tensor:
    """Slope of the log power of luma over log frequency, by least squares: (n,), about -2 for photographs."""
    of = _rings(pixels)
    # Each ring of about one frequency step counts once, so that the many high frequencies don't drown the low.
    used = of.counts > 0
    used[0] = False  # on an oblong image the first ring can round to nothing
    y = (ring_means(pixels.power, of)[:, used] + 1e-12).log()
    x = of.frequency[used].log()
    x = x - x.mean()
    return (y * x).sum(1) / x.square().sum()


def high_band(pixels: Pixels) -> torch.Tensor:
    """Share of luma's power, its mean left out, above a quarter cycle a pixel (half of what there can be): (n,)."""
    of, power = _rings(pixels), pixels.power
    size = power[0].numel()
    return mean(power * of.high) * size / (mean(power * of.weights) * size + 1e-12)


def sharpness(pixels: Pixels) -> torch.Tensor:
    """Variance of the Laplacian of luma: (n,)."""
    plane = pixels.variation
    centre = plane[:, 1:-1, 1:-1]
    beside = (plane[:, :-2, 1:-1], plane[:, 2:, 1:-1], plane[:, 1:-1, :-2], plane[:, 1:-1, 2:])
    return variance(sum(each - centre for each in beside))  # type: ignore[arg-type]


GUARDRAILS: dict[str, Callable[[Pixels], torch.Tensor]] = {
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
DETAIL = ("spectral_slope", "high_band", "sharpness")
"""Those that small images don't have."""


def _rings(pixels: Pixels) -> Rings:
    return rings(*pixels.images.shape[-2:], pixels.images.device, pixels.images.dtype)
