"""What every base model gives: a Generator turns prompts, seeds and factors into uint8 images.

The noise of an image depends on its prompt and seed alone and is drawn on the CPU, so batch size, order and device
change nothing about what is asked of the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from .factors import Factors


class GenerationError(RuntimeError):
    """The model gave no usable image (NaN, or nothing but black): the trial failed, the study can go on."""


class Generator(Protocol):
    """A base model, ready to run."""

    name: str
    identity: str
    """Names the weights by their content; a study keeps to one."""
    image_size: tuple[int, int]
    """(height, width) in pixels."""

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        factors: Factors,
        on_batch: Callable[[int], None] | None = None,
    ) -> torch.Tensor:
        """One image for each pair of prompt and seed.

        Args:
            prompts, seeds: of the same length n.
            factors: FreeU's factors, the same for all.
            on_batch: told the number of images finished after each batch.

        Returns:
            uint8 (n, 3, height, width) on the CPU; image i from prompts[i] and seeds[i].

        Raises:
            GenerationError: an image that can't be one.
        """
        ...

    def unet_evaluations(self, count: int) -> int:
        """How many samples pass through the U-Net for `count` images; guidance counts twice."""
        ...

    def too_long(self, prompts: Sequence[str]) -> list[str]:
        """Those prompts whose end the text encoder never sees."""
        ...


def noise(prompt: str, seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Initial noise of one image: standard normal, float32, on the CPU, from SHA-256 of prompt and seed."""
    import torch

    digest = hashlib.sha256(f"{seed}\n{prompt}".encode()).digest()
    draw = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
    return torch.randn(shape, generator=draw)
