"""Inpainting with plain models, whose U-Nets see no mask: after each step what lies outside of the mask is put back,
with the noise that is left (as diffusers' pipelines for inpainting do with a U-Net of 4 channels; RePaint, Lugmayr et
al., arXiv 2201.09865, equation 8, without its resampling).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .inpainting import Painting, small_mask


@dataclass(frozen=True)
class _Outside:
    """What is put back: the pictures' latents (n, c, h, w), the noise on them, and masks (n, 1, h, w), 1 where it is
    painted."""

    latents: torch.Tensor
    noise: torch.Tensor
    mask: torch.Tensor


class PlainInpainting(Painting):
    """A `freeu.generate.Generator` over `freeu.models.inputs`: pictures and masks."""

    def _condition(self, prompts: Sequence[str], randoms: Sequence[torch.Generator]) -> dict[str, Any]:
        found = super()._condition(prompts, randoms)
        again = [torch.Generator().manual_seed(random.initial_seed()) for random in randoms]
        latents, noise = self._encoded(prompts).to(self._unet.dtype), self._noise(again)
        masks = torch.cat([small_mask(self._mask(prompt), latents) for prompt in prompts])
        found["outside"] = _Outside(latents, noise, masks)
        return found

    def _predict(self, x: torch.Tensor, t: torch.Tensor, condition: dict[str, Any]) -> torch.Tensor:
        return super()._predict(x, t, {name: each for name, each in condition.items() if name != "outside"})

    def _between(
        self, latents: torch.Tensor, condition: dict[str, Any], scheduler: Any, following: torch.Tensor | None
    ) -> torch.Tensor:
        outside: _Outside = condition["outside"]
        kept = outside.latents
        if following is not None:
            kept = scheduler.add_noise(kept, outside.noise, following[None])
        return (1 - outside.mask) * kept + outside.mask * latents
