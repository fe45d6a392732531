"""The seam between FreeU and any diffusion model: prompts, seeds and factors in, uint8 images out.

What every generator shares stands here: the noise that depends on the prompt and the seed alone, the batches
that fit the memory, and the step from floats to pixels that refuses images that are none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch

from .cpu_batches import Done, shares, side_by_side
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


LARGEST = 32
"""Images of a lane's batch: larger ones are no faster for each image."""


class Batches:
    """Splits work into batches that fit the memory.

    A batch that doesn't fit is tried again at half its size, and the size stays there.
    """

    def __init__(
        self,
        size: int | None,
        room: Room | None = None,
        spare: Callable[[], bool] = lambda: False,
        lanes: bool = False,
    ) -> None:
        """size: None is as `room` finds it, by a first batch of one. spare: does something that lets a single one
        take less memory; False where there is nothing left to do. lanes: batches side by side, see `freeu.cpu_batches`;
        there None is an even share for each, LARGEST at the most.
        """
        self._even = lanes and size is None
        self.size = LARGEST if self._even else 1 if size is None else size
        self._room = room if size is None and not lanes else None
        self._spare, self._lanes = spare, lanes

    def run(self, n: int, work: Callable[[slice], torch.Tensor], alone: bool = False) -> Iterator[Done]:
        """(part, work(part)) for all parts of range(n), in the order in which they are done. alone: one by one.

        Raises:
            GenerationError: out of memory with a single one.
        """
        if not self._lanes or alone:
            yield from self._run(slice(0, n), work)
            return
        parts = shares(n, self.size) if self._even else [slice(i, i + self.size) for i in range(0, n, self.size)]
        yield from side_by_side([slice(p.start, min(p.stop, n)) for p in parts], lambda part: self._run(part, work))

    def _run(self, whole: slice, work: Callable[[slice], torch.Tensor]) -> Iterator[Done]:
        start, n = whole.start, whole.stop
        while start < n:
            part = slice(start, min(start + self.size, n))
            if self._room is not None:
                self._room.before()
            done = None
            try:
                done = work(part)
            except torch.OutOfMemoryError as error:
                if part.stop - part.start > 1:
                    self.size = (part.stop - part.start) // 2
                elif not self._spare():
                    raise GenerationError(f"not enough memory for a single image: {error}") from error
            if done is None:  # outside the handler, which holds on to the tensors of the failed try
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                continue
            if self._room is not None:
                self.size, self._room = self._room.size(), None
            yield part, done
            start = part.stop


class Room:
    """How large a batch fits into a CUDA device's memory, by what a batch of one takes at its peak."""

    MOST, SHARE = 32, 0.8
    """Batches beyond MOST are no faster for each image; a share of what is free is left to others."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def before(self) -> None:
        """The batch of one begins."""
        torch.cuda.reset_peak_memory_stats(self._device)
        self._held = torch.cuda.memory_allocated(self._device)

    def size(self) -> int:
        """The batch of one has ended: the size that fits."""
        free, _ = torch.cuda.mem_get_info(self._device)
        ours = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        peak = torch.cuda.max_memory_allocated(self._device) - self._held
        return fitting(free + ours, peak)


def fitting(free: int, peak: int) -> int:
    """The batch size that fits into `free` bytes where a batch of one takes `peak`: 1 to Room.MOST."""
    return max(1, min(Room.MOST, int(Room.SHARE * free / max(1, peak))))
