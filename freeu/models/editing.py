"""Pictures edited by an instruction: InstructPix2Pix (Brooks et al., arXiv 2211.09800), 8 input channels.

Beside the noisy latents the U-Net sees the picture's. There are two guidances, over the picture and over the words
(section 3.2.1, equation 3): uncond + s_image (image - uncond) + s_text (text - image).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .image_to_image import ImageToImage


class Editing(ImageToImage):
    """A `freeu.generate.Generator` over `freeu.models.inputs`, which begins from noise alone."""

    def _shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        (_, *sides), drawn = super()._shapes()
        return (self._vae.config.latent_channels, *sides), drawn

    @property
    def copies(self) -> int:
        """3 under guidance: without the picture, without words, with both."""
        return 3 if self._guided else 1

    def unet_evaluations(self, n: int) -> int:
        """See `copies`."""
        return n * len(self._run.own) * self.copies

    def _timesteps(self, scheduler: Any) -> torch.Tensor:
        return scheduler.timesteps

    def _begin(self, prompts: Sequence[str], randoms: Sequence[torch.Generator], scheduler: Any) -> torch.Tensor:
        return self._noise(randoms) * scheduler.init_noise_sigma

    def _condition(self, prompts: Sequence[str], randoms: Sequence[torch.Generator]) -> dict[str, Any]:
        found = super()._condition(prompts, randoms)
        scale, shift = self._latent_scale()
        found["seen"] = (self._encoded(prompts) / scale + shift).to(self._unet.dtype)  # as the VAE gives them
        return found

    def _predict(self, x: torch.Tensor, t: torch.Tensor, condition: dict[str, Any]) -> torch.Tensor:
        """Under guidance x (2 n, …) to what the loop, by the text's scale, makes the two guidances of."""
        words = {name: each for name, each in condition.items() if name != "seen"}
        seen = condition["seen"]
        if not self._guided:
            return super()._predict(torch.cat([x, seen], dim=1), t, words)
        latents, (negative, text) = x.chunk(2)[0], words.pop("encoder_hidden_states").chunk(2)
        pictures = torch.cat([torch.zeros_like(seen), seen, seen])
        guess = super()._predict(
            torch.cat([torch.cat([latents] * 3), pictures], dim=1),
            t,
            words | {"encoder_hidden_states": torch.cat([negative, negative, text])},
        )
        neither, picture, both = guess.chunk(3)
        without = neither + self._spec.image_guidance * (picture - neither)
        return torch.cat([without, without + both - picture])
