"""Rendered scenes to train on and to measure with: drawn once from a seed, kept in the work folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .caption import caption
from .draw import SIZE, draw
from .scene import Scene, sample


@dataclass(frozen=True)
class Scenes:
    """`scenes[i]` is painted in `images[i]`; images: uint8 (n, 3, 64, 64)."""

    scenes: tuple[Scene, ...]
    images: torch.Tensor

    def __len__(self) -> int:
        return len(self.scenes)

    def captions(self, indices: np.ndarray, rng: np.random.Generator) -> list[str]:
        """A fresh wording of each scene named."""
        return [caption(self.scenes[i], rng) for i in indices]


def scenes(count: int, seed: int, work: Path, held_out: bool = False) -> Scenes:
    """`count` scenes from `seed`; the pictures are kept in `work` so that each stage draws them only once."""
    rng = np.random.default_rng(seed)
    what = tuple(sample(rng, held_out) for _ in range(count))
    file = work / f"scenes-{seed}-{count}-{int(held_out)}.npy"
    if not file.exists():
        pixels = np.empty((count, 3, SIZE, SIZE), np.uint8)
        for i, scene in enumerate(what):
            pixels[i] = draw(scene).transpose(2, 0, 1)
        part = file.with_suffix(f".{os.getpid()}.npy")
        np.save(part, pixels)
        part.replace(file)
    return Scenes(what, torch.from_numpy(np.load(file)))


def to_signed(images: torch.Tensor) -> torch.Tensor:
    """uint8 pixels to float32 in [-1, 1], the range that the autoencoder and the readers take."""
    return images.float() / 127.5 - 1
