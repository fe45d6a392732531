"""Images as an encoder's input: resized as uint8, then scaled to its mean and standard deviation.

Resizing is bicubic and antialiased, as Pillow does and clean-fid asks for (Parmar et al., arXiv 2104.11222), and only
where an image's size isn't the encoder's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from configs import UserError

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pixels that OpenAI's CLIP was trained on, and those after it."""


def fitted(
    images: torch.Tensor, size: tuple[int, int], interpolation: str = "bicubic", mode: str = "squash"
) -> torch.Tensor:
    """uint8 images of the size asked for; "shortest" keeps the shape and crops the middle, "squash" doesn't."""
    from torchvision.transforms.v2 import InterpolationMode, functional

    if tuple(images.shape[-2:]) == size:
        return images
    kind = InterpolationMode(interpolation)
    if mode == "squash":
        return functional.resize(images, list(size), kind, antialias=True)
    if mode != "shortest":
        raise UserError(f"an encoder asks for resizing by {mode!r}: 'squash' and 'shortest' are known")
    return functional.center_crop(functional.resize(images, [min(size)], kind, antialias=True), list(size))


def scaled(images: torch.Tensor, mean: Sequence[float], std: Sequence[float], device: str) -> torch.Tensor:
    """uint8 images on the device as float32 in 0..1, less `mean`, by `std`."""
    shape = (1, 3, 1, 1)
    pixels = images.to(device).float() / 255
    return (pixels - torch.tensor(mean, device=device).view(shape)) / torch.tensor(std, device=device).view(shape)
