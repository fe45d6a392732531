"""Pictures made four times as large: Stable Diffusion's x4 upscaler (github.com/Stability-AI/stablediffusion), 7 input
channels. Beside the noisy latents the U-Net sees the small picture, with a little noise, and is told how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from . import inputs
from .place import Place
from .spec import ModelSpec
from .text_to_image import TextToImage

NOISE = 20
"""The timestep up to which the small picture is noised; diffusers' own."""


class Upscaling(TextToImage):
    """A `freeu.generate.Generator` over `freeu.models.inputs`, which begins from noise alone."""

    def __init__(self, pipeline: Any, spec: ModelSpec, identity: str, place: Place) -> None:
        self._small: dict[Any, torch.Tensor] = {}  # by picture and size
        super().__init__(pipeline, spec, identity, place)
        place.settle(self._vae, overflows=True)

    def _size(self) -> tuple[int, int]:
        blocks = len(self._unet.config.block_out_channels)
        return inputs.size(self._spec, self._pipeline.vae_scale_factor * 2 ** (blocks - 1))

    def _shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        (_, *sides), drawn = super()._shapes()
        return (self._vae.config.latent_channels, *sides), drawn

    def _condition(self, prompts: Sequence[str], randoms: Sequence[torch.Generator]) -> dict[str, Any]:
        found = super()._condition(prompts, randoms)
        pictures = torch.cat([self._picture(prompt) for prompt in prompts])
        noise = torch.stack([torch.randn(pictures.shape[1:], generator=random) for random in randoms])
        level = torch.tensor([NOISE], device=self._device)
        noisy = self._pipeline.low_res_scheduler.add_noise(pictures, noise.to(pictures), level)
        found["seen"] = noisy.repeat(self.copies, 1, 1, 1)
        found["class_labels"] = level.repeat(len(found["seen"]))
        return found

    def _picture(self, prompt: str) -> torch.Tensor:
        """What a prompt begins from, (1, 3, h, w) in -1 to 1, at the size of the latents."""
        key = self._spec.inputs.get(prompt), self.image_size
        if key not in self._small:
            height, width = self._latent[-2:]
            pixels = inputs.load(self._spec, prompt, (height, width))
            self._small[key] = (pixels / 127.5 - 1).to(self._device, self._unet.dtype)
        return self._small[key]
