"""What a map holds at which frequency: the quantities that FreeU's paper argues with, as pure functions.

Frequencies are in cycles a pixel of the map itself, 0 to 0.5 along an axis. The relative log amplitude is that of the
paper's figures 3, 6 and 7 (Si et al., arXiv 2309.11497), which follow Park and Kim (arXiv 2202.06709): the logarithm of
the amplitude at a frequency less that at frequency 0.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch

HIGH = 0.25
"""High frequencies lie above this: half of what an axis of a map can hold."""
CHUNK = 2**20
"""Values that are transformed at a time: what bounds the memory, at some 20 bytes for each."""


def spectrum(maps: torch.Tensor, chunk: int = CHUNK) -> tuple[torch.Tensor, torch.Tensor]:
    """How strong each frequency is, and how much of what a map varies is fine.

    Args:
        maps: (n, c, H, W), floating point of any precision. chunk: values that are in work at a time.

    Returns:
        amplitude, float32 (n, min(H, W) // 2 + 1): of the discrete Fourier transform over sqrt(H W), mean over the c
            maps and over the frequencies of ring k, those that round to k / min(H, W); the corners beyond are in none.
        share, float32 (n,) in 0..1: of the maps' power, their means left out, that lies above `HIGH`; NaN where
            nothing varies.
    """
    n, c, height, width = maps.shape
    rings, fine, coarse = _weights(height, width, maps.device)
    amplitude = torch.zeros(n, height, width // 2 + 1, device=maps.device)
    power = torch.zeros_like(amplitude)
    for part in maps.split(max(1, chunk // max(1, n * height * width)), dim=1):
        found = torch.fft.rfft2(part.float(), norm="ortho").abs()
        amplitude += found.sum(1)
        power += found.square_().sum(1)
    power = power.flatten(1)
    high = power @ fine
    return amplitude.flatten(1) @ rings / c, high / (high + power @ coarse)


def relative_log(amplitude: torch.Tensor) -> torch.Tensor:
    """Amplitudes (..., rings) as natural logarithms, less that of ring 0."""
    logs = amplitude.clamp(min=torch.finfo(amplitude.dtype).tiny).log()
    return logs - logs[..., :1]


def frequencies(height: int, width: int) -> torch.Tensor:
    """Of the rings of `spectrum`, in cycles a pixel: (rings,)."""
    side = min(height, width)
    return torch.arange(side // 2 + 1) / side


def parts(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps (..., H, W) as the sum of their low frequencies, up to `HIGH`, and their high ones, in float32."""
    height, width = maps.shape[-2:]
    maps = maps.float()
    kept = _radius(height, width, maps.device) <= HIGH
    low = torch.fft.irfft2(torch.fft.rfft2(maps) * kept, s=(height, width))
    return low, maps - low


def _radius(height: int, width: int, device: torch.device) -> torch.Tensor:
    """Of each frequency of a real transform: (H, W // 2 + 1), in cycles a pixel."""
    down, across = torch.fft.fftfreq(height, device=device), torch.fft.rfftfreq(width, device=device)
    return (down[:, None] ** 2 + across**2).sqrt()


@lru_cache(maxsize=64)
def _weights(height: int, width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the frequencies of a real transform, flat, count: for the mean of each ring (frequencies, rings), and for
    the power above `HIGH` and below it (frequencies,). A real transform leaves mirrored frequencies out: the others
    count twice."""
    with torch.inference_mode(False):
        radius, side = _radius(height, width, device).flatten(), min(height, width)
        twice = torch.full((height, width // 2 + 1), 2.0, device=device)
        twice[:, 0] = 1
        if width % 2 == 0:
            twice[:, -1] = 1
        twice = twice.flatten()
        ring = (radius * side).round().long()
        rings = (ring[:, None] == torch.arange(side // 2 + 1, device=device)) * twice[:, None]
        fine = twice * (radius > HIGH)
        coarse = twice * ((radius <= HIGH) & (radius > 0))
        return rings / rings.sum(0), fine, coarse


def components(features: torch.Tensor, count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Feature maps of several runs seen along the principal components that they share.

    Args:
        features: (m, c, H, W), m runs of the same channels. count: how many components, at most c.

    Returns:
        maps, float32 (m, count, H, W): the positions of all m in one basis of unit vectors; each component's largest
            weight is positive.
        share, (count,): of the variance that each explains.
    """
    m, c, height, width = features.shape
    points = features.float().permute(0, 2, 3, 1).reshape(-1, c)
    points = points - points.mean(0)
    values, vectors = torch.linalg.eigh(points.T @ points)
    basis = vectors.flip(1)[:, :count]
    largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))
    seen = (points @ (basis * largest.sign())).reshape(m, height, width, -1).permute(0, 3, 1, 2)
    values = values.clamp(min=0).flip(0)
    return seen, values[:count] / values.sum().clamp(min=math.ulp(0.0))
