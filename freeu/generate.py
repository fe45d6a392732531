"""The seam between FreeU and any diffusion model: prompts, seeds and factors in, uint8 images out.

What every generator shares stands here: the noise that depends on the prompt and the seed alone, and the step from
floats to pixels that refuses images that are none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from .factors import Factors
from .sampling import Sampling

OnStep = Callable[[float], None]
"""Told after each denoising step how many images are done, those of the batch in flight by their share of steps."""


class GenerationError(RuntimeError):
    """Images that could not be made under these factors; the trial fails so, and the study goes on."""


class Generator(Protocol):
    """A base model that FreeU acts on.

    Attributes:
        name: of the base model, as in configs/models.
        identity: SHA-256, in hex, over the files that it was loaded from. Empty where a generator of one's own doesn't
            tell what it reads: its images and scores are not kept beyond their study then.
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
        on_step: OnStep | None = None,
    ) -> torch.Tensor:
        """Image i from prompts[i] and seeds[i]: uint8 (n, 3, H, W) on the CPU; of videos (n, frames, 3, H, W).

        An image does not depend on the others beyond rounding. What `on_step` raises ends the run there.

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

    def with_sampling(self, sampling: Sampling) -> Generator:
        """The same model under other sampling settings; it shares the weights and what is prepared.

        Raises:
            UserError: this one can't be sampled so.
        """
        ...

    def prepare(self, prompts: Sequence[str], samplings: Sequence[Sampling] = ()) -> None:
        """Does once what depends on the prompts alone, and frees what is needed for that and nothing else.

        samplings: settings of candidates to come, of which `clip_skip` and `negative_prompt` count. From then on images
        of these prompts alone can be made, under its own settings and under those.
        """
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
        check_lit(is_lit, prompt)
    return pixels.cpu()


def check_lit(is_lit: bool, prompt: str) -> None:
    """Refuses a black image: an overflow that something hid, or what a safety checker puts in an image's place.

    Raises:
        GenerationError: it is black all over.
    """
    if not is_lit:
        raise GenerationError(f"the image of {prompt!r} is black all over: no image to score")
