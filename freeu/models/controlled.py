"""Text to image held to control images by ControlNets (Zhang et al., arXiv 2302.05543), which add to the U-Net's skips
and mid block in every step; of several the sum, each by its weight. FreeU acts in the U-Net's decoder, on these sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from . import control, inputs
from .place import Place
from .spec import ModelSpec
from .text_to_image import TextToImage


class Controlled(TextToImage):
    """A `freeu.generate.Generator` of text to image, over `freeu.models.control`."""

    def __init__(self, pipeline: Any, spec: ModelSpec, identity: str, place: Place) -> None:
        self._weights = [control.weighted(text)[1] for text in spec.held_by]
        self._held_to: dict[Any, list[torch.Tensor]] = {}  # by prompt and size
        super().__init__(pipeline, spec, identity, place)

    def _size(self) -> tuple[int, int]:
        """The control image's shape where one is given for all."""
        if self._spec.controls or self._spec.inputs:
            return self._spec.image_size
        blocks = len(self._unet.config.block_out_channels)
        first = self._spec.control[0] if self._spec.control else self._spec.input
        like = self._spec.model_copy(update={"input": first})
        return inputs.size(like, self._pipeline.vae_scale_factor * 2 ** (blocks - 1))

    def _condition(self, prompts: Sequence[str], randoms: Sequence[torch.Generator]) -> dict[str, Any]:
        found = super()._condition(prompts, randoms)
        of_each = [self._known(prompt) for prompt in prompts]
        found["control"] = [torch.cat([*some] * self.copies) for some in zip(*of_each, strict=True)]
        return found

    def _known(self, prompt: str) -> list[torch.Tensor]:
        key = prompt if self._spec.controls or self._spec.inputs else None, self.image_size
        if key not in self._held_to:
            self._held_to[key] = self._made(prompt)
        return self._held_to[key]

    def _made(self, prompt: str) -> list[torch.Tensor]:
        """A prompt's control images, one for each network."""
        pictures = control.load(self._spec, prompt, self.image_size)
        return [each.to(self._device, self._unet.dtype) for each in pictures]

    def _predict(self, x: torch.Tensor, t: torch.Tensor, condition: dict[str, Any]) -> torch.Tensor:
        words = {name: each for name, each in condition.items() if name != "control"}
        pictures, weights = condition["control"], self._weights
        several = len(weights) > 1
        down, middle = self._pipeline.controlnet(
            x,
            t,
            **words,
            controlnet_cond=pictures if several else pictures[0],
            conditioning_scale=weights if several else weights[0],
            return_dict=False,
        )
        residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        return self._unet(x, t, **words, **residuals, return_dict=False)[0]
