"""A running server as a generator: the same prompts and seeds for every candidate, several images at a time.

What a kind of server does in its own way stands behind `Backend` (comfyui_backend.py, webui_backend.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch

from configs import UserError
from freeu.factors import Factors
from freeu.generate import GenerationError, OnStep, check_lit
from freeu.sampling import Sampling

from .pool import Run, Server, Watch


class Backend(Protocol):
    """One way of drawing on servers of one kind, under fixed sampling settings.

    Attributes:
        servers: those that draw. identity, image_size, frames: as a generator's.
        evaluations: U-Net evaluations of an image.
        seeds: how many seeds the servers know, from 0 on.
    """

    @property
    def servers(self) -> Sequence[Server]: ...
    @property
    def identity(self) -> str: ...
    @property
    def image_size(self) -> tuple[int, int]: ...
    @property
    def frames(self) -> int: ...
    @property
    def evaluations(self) -> int: ...
    @property
    def seeds(self) -> int: ...

    def draw(self, server: int, image: int, prompt: str, seed: int, factors: Factors, watch: Watch) -> torch.Tensor:
        """uint8 (frames, 3, H, W). Raises Unreachable, GenerationError, UserError."""
        ...

    def check(self, factors: Factors) -> None:
        """Raises UserError where the servers would make another method of these factors."""
        ...

    def measured(self, prompt: str, seed: int) -> tuple[str, ...]:
        """Draws a few images and says what was found: whether images repeat, and what FreeU does there."""
        ...

    def leave(self) -> None:
        """Takes everything out of the servers' queues that was put there and is not done."""
        ...

    def with_settings(self, values: Mapping[str, Any]) -> Backend:
        """The same with other sampling settings, by name. Raises UserError where one can't be set."""
        ...


class ServerGenerator:
    """See `freeu.generate.Generator`. notes: what was measured at the start, a sentence each."""

    def __init__(self, name: str, backend: Backend) -> None:
        self.name, self.backend = name, backend
        self.identity, self.image_size, self.frames = backend.identity, backend.image_size, backend.frames
        self.max_tokens = 77
        self.notes: tuple[str, ...] = ()

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        factors: Factors,
        on_step: OnStep | None = None,
    ) -> torch.Tensor:
        """Image i from prompts[i] and seeds[i]: uint8 (n, 3, H, W); of videos (n, frames, 3, H, W)."""
        self.backend.check(factors)
        known = [seed_of(prompt, seed, self.backend.seeds) for prompt, seed in zip(prompts, seeds, strict=True)]

        def draw(server: int, image: int, watch: Watch) -> torch.Tensor:
            return self.backend.draw(server, image, prompts[image], known[image], factors, watch)

        found = drawn(self.backend, known, draw, on_step)
        for prompt, image in zip(prompts, found, strict=True):
            check_lit(bool(image.any()), prompt)
            if image.shape != found[0].shape:
                raise GenerationError(
                    f"the server's images differ in size: {sizes(found)}; fix the size in the workflow"
                )
            if len(image) != self.frames:
                raise GenerationError(
                    f"{len(image)} images come out for one prompt, where {self.frames} is expected: set the batch to 1"
                )
        images = torch.stack(found)
        return images if self.frames > 1 else images[:, 0]

    def unet_evaluations(self, n: int) -> int:
        """As the workflow's or request's steps and guidance have it."""
        return n * self.backend.evaluations

    def too_long(self, prompts: Sequence[str]) -> list[str]:
        """None: these servers take a long prompt in several parts."""
        return []

    def with_sampling(self, sampling: Sampling) -> ServerGenerator:
        """The same servers with other sampling settings, as far as the workflow or request has a place for them."""
        return ServerGenerator(self.name, self.backend.with_settings(sampling.as_dict()))

    def prepare(self, prompts: Sequence[str], samplings: Sequence[Sampling] = ()) -> None:
        """Measures with the first prompt whether images repeat, and whether FreeU acts. Raises UserError."""
        if not prompts:
            return
        try:
            self.notes = self.backend.measured(prompts[0], seed_of(prompts[0], 0, self.backend.seeds))
        except GenerationError as error:  # before any trial, it is the whole study that can't be
            raise UserError(str(error)) from error


def drawn(
    backend: Backend,
    homes: Sequence[int],
    draw: Callable[[int, int, Watch], torch.Tensor],
    on_step: OnStep | None = None,
) -> list[torch.Tensor]:
    """The images of one round; `homes` choose each one's server. Nothing of it stays in a queue, however it ends."""
    servers = backend.servers
    run = Run(servers, [home % len(servers) for home in homes], draw)
    try:
        return run.images(on_step or (lambda done: None))
    finally:
        backend.leave()


def seed_of(prompt: str, seed: int, seeds: int) -> int:
    """The server's seed of an image, from its prompt and seed alone: one of 0 to seeds - 1."""
    digest = hashlib.sha256(f"{seed}\0{prompt}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "little") % seeds


def sizes(images: Sequence[torch.Tensor]) -> str:
    """Those that occur, as "512×512 and 512×768"."""
    found = dict.fromkeys(f"{image.shape[-1]}×{image.shape[-2]}" for image in images)
    return " and ".join(found)


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """The mean difference of two images' pixels, of 255; infinite where they differ in size."""
    if one.shape != other.shape:
        return float("inf")
    return float((one.float() - other.float()).abs().mean())
