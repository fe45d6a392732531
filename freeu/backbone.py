"""The backbone's amplification: version 1 by a constant, version 2 by the position.

Si et al., arXiv 2309.11497: version 1 is the first arXiv version's, version 2 equations 3 and 4 of the second.
"""

from __future__ import annotations

import torch

from .factors import Version


def gain(hidden: torch.Tensor, b: float, version: Version) -> torch.Tensor | float:
    """What the first half of the channels is multiplied by.

    Args:
        hidden: backbone features (n, c, ...), all channels.
        b: the factor; 1 gives a gain of 1 everywhere.
        version: "v1" gives b itself; "v2" gives (b - 1) m + 1, where m is the mean over channels, min-max normalised to
            [0, 1] over each sample's positions.

    Returns:
        b, or a tensor (n, 1, ...) of hidden's dtype. Where a sample's mean is constant, to the rounding of its sums,
        m is 0 and the gain 1 (public implementations give NaN there, or amplify the rounding to the full range).
    """
    if version == "v1":
        return b
    mean = hidden.mean(dim=1, keepdim=True, dtype=_at_least_float32(hidden.dtype))
    flat = mean.flatten(1)
    low, high = (edge.view(-1, *[1] * (mean.ndim - 1)) for edge in (flat.amin(dim=1), flat.amax(dim=1)))
    span = high - low
    # A constant map's means differ by up to 2 eps of mean |h| (measured, 8 to 5120 channels), as positions are summed
    # in different orders; there every position has the same mean |h|, so the first one's does as the scale.
    first = hidden.flatten(2)[:, :, 0].abs().mean(dim=1, dtype=mean.dtype).view_as(span)
    rounding = 16 * torch.finfo(mean.dtype).eps * first
    m = (mean - low) / torch.where(span > rounding, span, torch.inf)
    return ((b - 1) * m + 1).to(hidden.dtype)


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
