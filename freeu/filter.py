"""The skip filter (Si et al., eq. 6) as a low-rank projection: no FFT, no complex numbers.

The paper multiplies the spectrum by `scale` inside a box round the shifted zero frequency and takes the real part. The
box holds the frequencies {-T .. T-1} in both directions; keeping those and taking the real part is a linear map whose
rank is at most 2 (2T)^2 - 1, spanned by cosine and sine images. With Q their columns over sqrt(H W):

    filtered = x + (scale - 1) (x Q) Q'

This agrees with the FFT to rounding, runs in any precision and on any device, compiles and exports.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from .factors import FactorsError


def skip_filter(x: torch.Tensor, scale: float, threshold: int = 1) -> torch.Tensor:
    """Scales the low frequencies of feature maps.

    Args:
        x: features (..., H, W), floating point.
        scale: s; 1 changes nothing, 0 removes the low frequencies.
        threshold: T, half the width of the box, in frequencies; 1 in the paper.

    Returns:
        The filtered features: a new tensor of x's shape and dtype. Sums are taken in at least float32.

    Raises:
        FactorsError: the box is larger than the map.
    """
    return x + low_frequencies(x, threshold).mul_(scale - 1).to(x.dtype)


def low_frequencies(x: torch.Tensor, threshold: int) -> torch.Tensor:
    """The part of x (..., H, W) inside the box, real part; in float32 where x is of lower precision."""
    height, width = x.shape[-2:]
    if not 1 <= threshold <= min(height, width) // 2:
        raise FactorsError(
            f"threshold is {threshold} for a map of {height} x {width}: it lies between 1 and half the smaller side"
        )
    work = torch.float64 if x.dtype == torch.float64 else torch.float32
    basis = _basis(height, width, threshold, work, x.device)
    return ((x.flatten(-2).to(work) @ basis) @ basis.T).unflatten(-1, (height, width))


@lru_cache(maxsize=64)
def _basis(height: int, width: int, threshold: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Q (H W, r), such that Q Q' keeps the box's frequencies and takes the real part."""
    # Kept for later calls, which may want gradients through it: not to be an inference tensor.
    with torch.inference_mode(False):
        return _waves(height, width, threshold).to(device=device, dtype=dtype)


def _waves(height: int, width: int, threshold: int) -> torch.Tensor:
    box = {(u, v) for u in range(-threshold, threshold) for v in range(-threshold, threshold)}
    rows = torch.arange(height, dtype=torch.float64)[:, None] / height
    columns = torch.arange(width, dtype=torch.float64)[None, :] / width
    waves = []
    for u, v in sorted(box):
        if (-u, -v) in box and (-u, -v) < (u, v):
            continue  # a frequency and its negative span the same two waves: counted below, by weight
        weight = 2 if (-u, -v) in box and (u, v) != (0, 0) else 1
        phase = 2 * math.pi * (u * rows + v * columns)
        waves.append(math.sqrt(weight) * torch.cos(phase))
        if (u, v) != (0, 0):
            waves.append(math.sqrt(weight) * torch.sin(phase))
    return torch.stack(waves, dim=-1).flatten(0, 1) / math.sqrt(height * width)
