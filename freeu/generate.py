"""The seam between FreeU and any diffusion model: prompts, seeds and factors in, uint8 images out.

What every generator shares stands here: the noise that depends on the prompt and the seed alone, the batches
that fit the memory, and the step from floats to pixels that refuses images that are none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch

from .factors import Factors


class GenerationError(RuntimeError):
    """Images that could not be made under these factors; the trial fails so, and the study goes on."""


class Generator(Protocol):
    """A base model that FreeU acts on.

    Attributes:
        name: of the base model, as in configs/models.
        identity: SHA-256, in hex, over the files that it was loaded from.
        image_size: (height, width) in pixels.
        max_tokens: the tokens that the text encoder takes, its start and end marks included.
    """

    name: str
    identity: str
    image_size: tuple[int, int]
    max_tokens: int

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        factors: Factors,
        on_batch: Callable[[int], None] | None = None,
    ) -> torch.Tensor:
        """Image i from prompts[i] and seeds[i]: uint8 (n, 3, H, W) on the CPU; of videos (n, frames, 3, H, W).

        An image does not depend on the others beyond rounding. `on_batch(done)` hears how many images are done.

        Raises:
            GenerationError: an image is no number or all black, or a single one does not fit the memory.
        """
        ...

    def unet_evaluations(self, n: int) -> int:
        """How many samples pass through the U-Net for n images: 2 a step under guidance, else 1."""
        ...

    def too_long(self, prompts: Sequence[str]) -> list[str]:
        """Those of the prompts that the text encoder would cut."""
        ...


def generator(prompt: str, seed: int) -> torch.Generator:
    """The one source of randomness of an image, on the CPU, named by its prompt and seed and by nothing else."""
    digest = hashlib.sha256(f"{seed}\0{prompt}".encode("utf-8", "surrogatepass")).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "little"))


def noise(prompt: str, seed: int, shape: Sequence[int]) -> torch.Tensor:
    """The initial noise of an image: standard normal, float32, on the CPU."""
    return torch.randn(tuple(shape), generator=generator(prompt, seed))


def to_uint8(images: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
    """Pixels 0..255, uint8 on the CPU, of images (n, 3, H, W) in -1..1; rounded half to even, clamped.

    Raises:
        GenerationError: an image holds a value that is no finite number, or is black all over.
    """
    images = images.float()
    finite = images.isfinite().flatten(1).all(1).tolist()
    pixels = ((images / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    lit = pixels.flatten(1).any(1).tolist()
    for prompt, is_finite, is_lit in zip(prompts, finite, lit, strict=True):
        if not is_finite:
            raise GenerationError(
                f"the image of {prompt!r} holds NaN or infinity: half precision overflows on some models; "
                "try --dtype bfloat16 or float32"
            )
        if not is_lit:
            raise GenerationError(f"the image of {prompt!r} is black all over")
    return pixels.cpu()


class Batches:
    """Splits work into batches that fit the memory.

    A batch that doesn't fit is tried again at half its size, and the size stays there.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, n: int, work: Callable[[slice], torch.Tensor]) -> Iterator[tuple[slice, torch.Tensor]]:
        """(part, work(part)) for consecutive parts of range(n).

        Raises:
            GenerationError: out of memory with a single one.
        """
        start = 0
        while start < n:
            part = slice(start, min(start + self.size, n))
            done = None
            try:
                done = work(part)
            except torch.OutOfMemoryError as error:
                if part.stop - part.start == 1:
                    raise GenerationError(f"not enough memory for a single image: {error}") from error
                self.size = (part.stop - part.start) // 2
            if done is None:  # outside the handler, which holds on to the tensors of the failed try
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            yield part, done
            start = part.stop
