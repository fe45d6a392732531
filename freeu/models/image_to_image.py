"""Image to image: a picture of the user's is noised a part of the way, and denoised from there under a prompt."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from configs import UserError

from . import inputs
from .place import Place
from .spec import ModelSpec
from .text_to_image import TextToImage

AESTHETIC, UNAESTHETIC = 6.0, 2.5
"""What SDXL's refiner is told of the picture to make, and of the one to stay away from."""


def begun(scheduler: Any, skipped: int) -> torch.Tensor:
    """Its timesteps without the first ones; tells those schedulers that count steps that they are left out."""
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    return scheduler.timesteps[skipped:]


class ImageToImage(TextToImage):
    """A `freeu.generate.Generator` whose images begin from `freeu.models.inputs`."""

    def __init__(self, pipeline: Any, spec: ModelSpec, identity: str, place: Place) -> None:
        super().__init__(pipeline, spec, identity, place)
        self._latents: dict[Any, torch.Tensor] = {}  # by the file, which is None for the input of all, and its size

    def _size(self) -> tuple[int, int]:
        blocks = len(self._unet.config.block_out_channels)
        return inputs.size(self._spec, self._pipeline.vae_scale_factor * 2 ** (blocks - 1))

    def _scheduler(self) -> Any:
        scheduler = super()._scheduler()
        if self._spreads(scheduler):
            try:
                scheduler.set_timesteps(self.steps, device=self._device, strength=self._spec.strength)
            except ValueError as error:
                raise UserError(f"--steps {self.steps} with --strength {self._spec.strength}: {error}") from error
        return scheduler

    def _spreads(self, scheduler: Any) -> bool:
        """Whether all steps are spread over the last `strength` of the timesteps, as diffusers has it for LCM alone."""
        import diffusers

        latent_consistency = isinstance(self._pipeline, diffusers.LatentConsistencyModelPipeline)
        return latent_consistency and "strength" in inspect.signature(scheduler.set_timesteps).parameters

    def _timesteps(self, scheduler: Any) -> torch.Tensor:
        """The last `strength` of them; at least one."""
        if self._spreads(scheduler):
            return scheduler.timesteps
        order = scheduler.order
        skipped = self.steps - max(1, min(int(self.steps * self._spec.strength), self.steps))
        return begun(scheduler, skipped * order)

    def _begin(self, prompts: Sequence[str], randoms: Sequence[torch.Generator], scheduler: Any) -> torch.Tensor:
        noise = self._noise(randoms)
        first = self._timesteps(scheduler)[:1].repeat(len(noise))
        return scheduler.add_noise(self._encoded(prompts).to(noise.dtype), noise, first)

    def _encoded(self, prompts: Sequence[str]) -> torch.Tensor:
        """Latents (n, c, h, w) of what the prompts begin from, each encoded once."""
        return torch.cat([self._known(prompt) for prompt in prompts])

    def _known(self, prompt: str) -> torch.Tensor:
        key = self._spec.inputs.get(prompt), self.image_size
        if key not in self._latents:
            self._latents[key] = self._encode(inputs.load(self._spec, prompt, self.image_size))
        return self._latents[key]

    def _encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """uint8 (n, 3, H, W) to the U-Net's latents: the mean of what the VAE gives, so that nothing is drawn."""
        scale, shift = self._latent_scale()
        pixels = pictures.to(self._device, self._vae.dtype) / 127.5 - 1
        found = torch.cat([self._vae.encode(each[None]).latent_dist.mode() for each in pixels])
        return (found - shift) * scale

    def _time_ids(self, negative: bool) -> list[float]:
        if not self._pipeline.config.get("requires_aesthetics_score"):
            return super()._time_ids(negative)
        return [*self.image_size, 0, 0, UNAESTHETIC if negative else AESTHETIC]
