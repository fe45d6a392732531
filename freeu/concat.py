"""FreeU at one decoder concatenation, for any U-Net: call it on the two features before they are joined."""

from __future__ import annotations

import torch

from .backbone import amplify_, gain
from .factors import Version
from .filter import skip_filter, skip_filter_
from .kernels import Factor


def modulate(
    hidden: torch.Tensor,
    skip: torch.Tensor,
    b: Factor,
    s: Factor,
    version: Version = "v2",
    threshold: int = 1,
    *,
    high: Factor = 1.0,
    offset: float = 0.0,
    width: float = 0.5,
    symmetric: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Amplifies the backbone and damps the skip's low frequencies.

    Args:
        hidden: backbone features (n, c, H, W), or (n, c, frames, H, W), where each frame is a map of its own.
        skip: skip features (n, d, H, W), or (n, d, frames, H, W).
        b, s: the factors of this concatenation's stage; the number 1 leaves its feature alone, to the bit. A number,
            or (n,) for each sample its own.
        version: "v1" or "v2", see `freeu.Factors`.
        threshold, high, offset, width, symmetric: see `freeu.Controls`; the defaults are the paper's, where the first
            c // 2 channels are amplified.

    Returns:
        New (hidden, skip), of the same shapes and dtypes; the inputs are not changed.

    Raises:
        FactorsError: the filter's box is larger than the map.
    """
    if _acts(b):
        factor, plain = gain(hidden, b, version), hidden
        hidden = plain.clone()
        for part in channels_of(hidden.shape[1], offset, width):
            hidden[:, part] = plain[:, part] * factor
    if _acts(s) or _acts(high):
        skip = skip_filter(skip, s, threshold, high=high, symmetric=symmetric)
    return hidden, skip


def modulate_(
    joined: torch.Tensor,
    channels: int,
    b: Factor,
    s: Factor,
    version: Version = "v2",
    threshold: int = 1,
    *,
    high: Factor = 1.0,
    offset: float = 0.0,
    width: float = 0.5,
    symmetric: bool = False,
) -> None:
    """`modulate` in place, on the fresh concatenation (n, channels + d, ..., H, W) of a backbone of `channels`."""
    hidden, skip = joined[:, :channels], joined[:, channels:]
    if _acts(b):
        amplify_(hidden, b, version, channels_of(channels, offset, width))
    if _acts(s) or _acts(high):
        skip_filter_(skip, s, threshold, high, symmetric)


def _acts(factor: Factor) -> bool:
    return isinstance(factor, torch.Tensor) or factor != 1


def channels_of(channels: int, offset: float, width: float) -> list[slice]:
    """The channels from `offset`, `width` of them, in fractions; in two parts where they go round the end."""
    first, last = int(offset * channels), int((offset + width) * channels)
    if last <= channels:
        return [slice(first, last)]
    return [slice(first, channels), slice(0, last - channels)]
