"""Inpainting with U-Nets made for it (9 input channels): where a mask is white a picture is painted anew.

Beside the noisy latents the U-Net sees the mask and the latents of the picture without what lies under it, as in the
inpainting model of github.com/runwayml/stable-diffusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from . import inputs
from .image_to_image import ImageToImage
from .place import Place
from .spec import ModelSpec

GREY = 127.5
"""What the picture is under the mask: 0, where its values go from -1 to 1."""


def small_mask(mask: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """A mask (1, 1, H, W) at the size of latents, and of their type: 1 where it is painted."""
    return torch.nn.functional.interpolate(mask.float(), size=latents.shape[-2:]).to(latents)


class Painting(ImageToImage):
    """What paints where a mask is white. At a strength of 1 it begins from noise alone."""

    def _begin(self, prompts: Sequence[str], randoms: Sequence[torch.Generator], scheduler: Any) -> torch.Tensor:
        if self._spec.strength < 1:
            return super()._begin(prompts, randoms, scheduler)
        return self._noise(randoms) * scheduler.init_noise_sigma

    def _mask(self, prompt: str) -> torch.Tensor:
        return inputs.mask(self._spec, prompt, self.image_size)


class Inpainting(Painting):
    """A `freeu.generate.Generator` over `freeu.models.inputs`: pictures and masks."""

    def __init__(self, pipeline: Any, spec: ModelSpec, identity: str, place: Place) -> None:
        self._seen: dict[Any, torch.Tensor] = {}  # by picture, mask and size
        super().__init__(pipeline, spec, identity, place)

    def _shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        (_, *sides), drawn = super()._shapes()
        return (self._vae.config.latent_channels, *sides), drawn

    def _condition(self, prompts: Sequence[str], randoms: Sequence[torch.Generator]) -> dict[str, Any]:
        found = super()._condition(prompts, randoms)
        found["seen"] = torch.cat([self._masked(prompt) for prompt in prompts]).repeat(self.copies, 1, 1, 1)
        return found

    def _masked(self, prompt: str) -> torch.Tensor:
        """(1, 1 + c, h, w): the mask, and the latents of the picture outside of it."""
        key = self._spec.inputs.get(prompt), self._spec.masks.get(prompt), self.image_size
        if key not in self._seen:
            mask = self._mask(prompt)
            picture = inputs.load(self._spec, prompt, self.image_size)
            latents = self._encode(torch.where(mask, GREY, picture.float()))
            self._seen[key] = torch.cat([small_mask(mask, latents), latents], dim=1).to(self._unet.dtype)
        return self._seen[key]
