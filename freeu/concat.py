"""FreeU at one decoder concatenation, for any U-Net: call it on the two features before they are joined."""

from __future__ import annotations

import torch

from .backbone import gain
from .factors import Version
from .filter import low_frequencies, skip_filter


def modulate(
    hidden: torch.Tensor, skip: torch.Tensor, b: float, s: float, version: Version = "v2", threshold: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Amplifies the backbone and damps the skip's low frequencies.

    Args:
        hidden: backbone features (n, c, H, W); the first c // 2 channels are amplified.
        skip: skip features (n, d, H, W).
        b, s: the factors of this concatenation's stage; 1 leaves its feature alone, to the bit.
        version: "v1" or "v2", see `freeu.Factors`.
        threshold: half the width of the filter's box.

    Returns:
        New (hidden, skip), of the same shapes and dtypes; the inputs are not changed.
    """
    if b != 1:
        half = hidden.shape[1] // 2
        hidden = torch.cat([hidden[:, :half] * gain(hidden, b, version), hidden[:, half:]], dim=1)
    if s != 1:
        skip = skip_filter(skip, s, threshold)
    return hidden, skip


def modulate_(joined: torch.Tensor, width: int, b: float, s: float, version: Version, threshold: int = 1) -> None:
    """`modulate` in place, on the fresh concatenation (n, width + d, H, W) of a backbone of `width` channels."""
    hidden, skip = joined[:, :width], joined[:, width:]
    if b != 1:
        hidden[:, : width // 2].mul_(gain(hidden, b, version))
    if s != 1:
        skip.add_(low_frequencies(skip, threshold).mul_(s - 1).to(skip.dtype))
