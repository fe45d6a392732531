"""The skip filter (Si et al., eq. 6) as a low-rank projection: no FFT, no complex numbers.

The paper multiplies the spectrum by `scale` inside a box round the shifted zero frequency and takes the real part. The
box holds the frequencies {-T .. T-1} in both directions; keeping those and taking the real part is a linear map of
small rank, spanned by cosine and sine images. With Q their rows over sqrt(H W):

    filtered = x + (scale - 1) (x Q') Q

This agrees with the FFT to rounding, runs in any precision and on any device, compiles and exports.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from .controls import FactorsError
from .kernels import Factor, as_float32, usable


def skip_filter(
    x: torch.Tensor, scale: Factor, threshold: int = 1, *, high: Factor = 1.0, symmetric: bool = False
) -> torch.Tensor:
    """Scales the low frequencies of feature maps, each map (H, W) by itself.

    Args:
        x: features (n, ..., H, W), floating point.
        scale: s; 1 changes nothing, 0 removes the low frequencies. A number, or (n,) for each sample its own.
        threshold: T, half the width of the box, in frequencies; 1 in the paper.
        high: the factor of all other frequencies, as `scale`.
        symmetric: weigh each frequency by the mean of the box and its reflections, so that filtering and mirroring
            commute; for T = 1 that moves half of the box's corner ±(1, 1) to ±(1, -1).

    Returns:
        The filtered features: a new tensor of x's shape and dtype. Sums are taken in at least float32.

    Raises:
        FactorsError: the box is larger than the map.
    """
    return skip_filter_(x.clone(memory_format=torch.contiguous_format), scale, threshold, high, symmetric)


def skip_filter_(x: torch.Tensor, scale: Factor, threshold: int, high: Factor, symmetric: bool) -> torch.Tensor:
    """`skip_filter` in place, on features whose maps can be viewed as vectors; returns x."""
    height, width = x.shape[-2:]
    check_threshold(threshold, height, width)
    kernel = usable("kernel", x)
    if kernel and kernel.fits(x, threshold):
        with torch.cuda.device(x.device):
            kernel.skip_filter_(x, as_float32(scale, x.device), as_float32(high, x.device), symmetric)
        return x
    work = at_least_float32(x.dtype)
    # Autocast would take the sums in half precision.
    with torch.autocast(x.device.type, enabled=False):
        if torch.compiler.is_compiling():
            # Part of the graph: a compiler looks past the cache.
            basis = _waves(height, width, threshold, symmetric, work, x.device)
        else:
            basis = _basis(height, width, threshold, symmetric, work, x.device)
        maps = x.view(x.shape[0] if x.ndim > 2 else 1, -1, height * width)
        waves = basis.expand(len(maps), -1, -1)
        # (n, r, channels): in this order the products are fastest, by a factor of 2 to 4 on a CPU.
        amounts = waves @ maps.to(work).transpose(1, 2)
        amounts = (amounts * (per_sample(scale, 3, work, x) - per_sample(high, 3, work, x))).transpose(1, 2)
        if isinstance(high, torch.Tensor) or high != 1:
            maps.mul_(per_sample(high, 3, work, x))
        if maps.dtype == work:
            maps.baddbmm_(amounts, waves)
        else:
            maps.add_(amounts @ waves)
    return x


def check_threshold(threshold: int, height: int, width: int) -> None:
    """Refuses a box that is larger than a map; on a map one wide, all is low."""
    if not 1 <= threshold <= max(1, min(height, width) // 2):
        raise FactorsError(
            f"threshold is {threshold} for a map of {height} x {width}: it lies between 1 and half the smaller side"
        )


def per_sample(factor: Factor, dims: int, dtype: torch.dtype, like: torch.Tensor) -> torch.Tensor | float:
    """A factor (n,) as (n, 1, ...) of `dims` dimensions, on the device of `like`; a number as it is."""
    if not isinstance(factor, torch.Tensor):
        return factor
    return factor.to(device=like.device, dtype=dtype).view(-1, *[1] * (dims - 1))


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """What sums are taken in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@lru_cache(maxsize=64)
def _basis(
    height: int, width: int, threshold: int, symmetric: bool, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    # Kept for later calls, which may want gradients through it: not to be an inference tensor.
    with torch.inference_mode(False):
        exact = _waves(height, width, threshold, symmetric, torch.float64, torch.device("cpu"))
        return exact.to(device=device, dtype=dtype)


def _waves(
    height: int, width: int, threshold: int, symmetric: bool, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """Q (r, H W), such that Q' Q keeps the box's frequencies and takes the real part."""
    down, across = (_kept(side, threshold, symmetric) for side in (height, width))
    weights: dict[tuple[int, int], float] = {}
    for u, in_rows in down.items():
        for v, in_columns in across.items():
            # A frequency and its negative span the same two waves.
            wave = max((u, v), (-u, -v))
            weights[wave] = weights.get(wave, 0) + in_rows * in_columns
    rows = torch.arange(height, dtype=dtype, device=device)[:, None] / height
    columns = torch.arange(width, dtype=dtype, device=device)[None, :] / width
    waves = []
    for (u, v), weight in sorted(weights.items()):
        phase = 2 * math.pi * (u * rows + v * columns)
        waves.append(math.sqrt(weight) * torch.cos(phase))
        if (u, v) != (0, 0):
            waves.append(math.sqrt(weight) * torch.sin(phase))
    return torch.stack(waves).flatten(1) / math.sqrt(height * width)


def _kept(side: int, threshold: int, symmetric: bool) -> dict[int, float]:
    """The frequencies of the box along one axis, with the share of each that is kept."""
    if side == 1:
        return {0: 1.0}
    if symmetric:
        return {u: 0.5 if abs(u) == threshold else 1.0 for u in range(-threshold, threshold + 1)}
    return {u: 1.0 for u in range(-threshold, threshold)}
