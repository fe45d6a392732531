"""The backbone's amplification: version 1 by a constant, version 2 by the position.

Si et al., arXiv 2309.11497: version 1 is the first arXiv version's, version 2 equations 3 and 4 of the second.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .factors import Version
from .filter import at_least_float32, per_sample
from .kernels import Factor, as_float32, usable


def gain(hidden: torch.Tensor, b: Factor, version: Version) -> torch.Tensor | float:
    """What the amplified channels are multiplied by.

    Args:
        hidden: backbone features (n, c, ..., H, W), all channels.
        b: the factor; 1 gives a gain of 1 everywhere. A number, or (n,) for each sample its own.
        version: "v1" gives b itself; "v2" gives (b - 1) m + 1, where m is the mean over channels, min-max normalised to
            [0, 1] over each map's positions.

    Returns:
        b, or a tensor that multiplies `hidden`, (n, 1, ..., H, W) in version 2, of at least float32. Where a map's mean
        is constant, to the rounding of its sums, m is 0 and the gain 1 (public implementations give NaN there, or
        amplify the rounding to the full range).
    """
    work = at_least_float32(hidden.dtype)
    b = per_sample(b, hidden.ndim, work, hidden)
    if version == "v1":
        return b
    mean = hidden.mean(dim=1, keepdim=True, dtype=work)
    flat = mean.flatten(-2)
    low, high = (edge[..., None] for edge in (flat.amin(dim=-1, keepdim=True), flat.amax(dim=-1, keepdim=True)))
    span = high - low
    # A constant map's means differ by up to 2 eps of mean |h| (measured, 8 to 5120 channels), as positions are summed
    # in different orders; there every position has the same mean |h|, so the first one's does as the scale.
    first = hidden[..., :1, :1].abs().mean(dim=1, keepdim=True, dtype=work)
    m = (mean - low) / torch.where(span > 16 * torch.finfo(work).eps * first, span, torch.inf)
    return (b - 1) * m + 1


def amplify_(hidden: torch.Tensor, b: Factor, version: Version, parts: Sequence[slice]) -> None:
    """Multiplies the channels of `parts`, as `freeu.concat.channels_of` has them, by `gain`, in place; on CUDA by one
    kernel in version 1 and two in version 2.
    """
    kernel = usable("gain_kernel", hidden) if version == "v2" else None
    if kernel and kernel.fits(hidden):
        with torch.cuda.device(hidden.device):
            kernel.amplify_(hidden, as_float32(b, hidden.device), parts)
        return
    factor = gain(hidden, b, version)
    for part in parts:
        hidden[:, part].mul_(factor)
