"""Text to image held to control images by T2I-Adapters (Mou et al., arXiv 2302.08453), whose features are added in the
U-Net's encoder; of several the sum, each by its weight. They depend on the image alone and are made once. FreeU acts in
the U-Net's decoder.
"""

from __future__ import annotations

from typing import Any

import torch

from configs import UserError

from . import control
from .controlled import Controlled


class Adapted(Controlled):
    """A `freeu.generate.Generator` of text to image, over `freeu.models.control`."""

    def _size(self) -> tuple[int, int]:
        size, multiple = super()._size(), self._adapters[0].downscale_factor
        if any(side % multiple for side in size):
            raise UserError(
                f"the T2I-Adapter takes images of multiples of {multiple} pixels, and these are {size[1]}x{size[0]}: "
                "give another --size"
            )
        return size

    @property
    def _adapters(self) -> list[Any]:
        one = self._pipeline.adapter
        return list(getattr(one, "adapters", (one,)))

    def _made(self, prompt: str) -> list[torch.Tensor]:
        """The features of a prompt's control images, a tensor for each level."""
        total: list[torch.Tensor] = []
        pictures = control.load(self._spec, prompt, self.image_size)
        for adapter, picture, weight in zip(self._adapters, pictures, self._weights, strict=True):
            channels = adapter.config.in_channels  # 1 in those for sketches and edges
            seen = control.grey(picture) if channels == 1 else picture
            found = [weight * each for each in adapter(seen.to(self._device, self._unet.dtype))]
            total = [one + other for one, other in zip(total, found, strict=True)] if total else found
        return total

    def _predict(self, x: torch.Tensor, t: torch.Tensor, condition: dict[str, Any]) -> torch.Tensor:
        words = {name: each for name, each in condition.items() if name != "control"}
        residuals = list(condition["control"])  # the U-Net takes them out of the list
        return self._unet(x, t, **words, down_intrablock_additional_residuals=residuals, return_dict=False)[0]
