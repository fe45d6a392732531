"""Spoils an image by a known amount, as generated images go wrong: what the aesthetic head learns from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F


def blur(image: torch.Tensor, amount: float) -> torch.Tensor:
    """A Gaussian of up to 2.5 pixels."""
    return _gaussian(image, 0.3 + 2.2 * amount)


def noise(image: torch.Tensor, amount: float, rng: np.random.Generator) -> torch.Tensor:
    """White noise of up to a quarter of the range."""
    return image + 0.25 * amount * torch.from_numpy(rng.standard_normal(image.shape, np.float32))


def ringing(image: torch.Tensor, amount: float) -> torch.Tensor:
    """Unsharp masking far beyond taste: halos round every edge."""
    return image + 4 * amount * (image - _gaussian(image, 1.2))


def banding(image: torch.Tensor, amount: float) -> torch.Tensor:
    """From 24 levels a channel down to 2."""
    levels = 1 + round(23 * (1 - amount) ** 2)
    return (image * levels).round() / levels


def saturation(image: torch.Tensor, amount: float) -> torch.Tensor:
    """Colour burnt away from its grey by a factor of up to 4."""
    grey = image.mean(dim=0, keepdim=True)
    return grey + (1 + 3 * amount) * (image - grey)


def gamma(image: torch.Tensor, amount: float, rng: np.random.Generator) -> torch.Tensor:
    """A tone curve that is too dark or too light, by an exponent of up to 3."""
    power = (1 + 2 * amount) ** (1 if rng.random() < 0.5 else -1)
    return image.clamp(0, 1) ** power


KINDS: dict[str, Callable[[torch.Tensor, float, np.random.Generator], torch.Tensor]] = {
    "blur": lambda image, amount, rng: blur(image, amount),
    "noise": noise,
    "ringing": lambda image, amount, rng: ringing(image, amount),
    "banding": lambda image, amount, rng: banding(image, amount),
    "saturation": lambda image, amount, rng: saturation(image, amount),
    "gamma": gamma,
}


def degrade(images: torch.Tensor, amounts: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Each image spoiled in one way, drawn at random, by its amount in [0, 1]; uint8 (n, 3, H, W) in and out."""
    kinds = rng.integers(len(KINDS), size=len(images))
    spoil = list(KINDS.values())
    out = [
        spoil[kind](image, float(amount), rng) if amount > 0 else image
        for image, amount, kind in zip(images.float() / 255, amounts, kinds, strict=True)
    ]
    return (torch.stack(out).clamp(0, 1) * 255).round().byte()


def score(amounts: np.ndarray) -> np.ndarray:
    """What the aesthetic head should say of an amount: 10 for an untouched image, 1 for the worst."""
    return 10 - 9 * amounts


def _gaussian(image: torch.Tensor, sigma: float) -> torch.Tensor:
    reach = int(np.ceil(3 * sigma))
    x = torch.arange(-reach, reach + 1, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(image.shape[0], 1, -1)
    padded = F.pad(image[None], (reach,) * 4, mode="replicate")
    across = F.conv2d(padded, kernel[:, :, None, :], groups=image.shape[0])
    return F.conv2d(across, kernel[:, :, :, None], groups=image.shape[0])[0]
