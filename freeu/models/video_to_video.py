"""Video to video as Rerender-A-Video does it for key frames (Yang et al., arXiv 2306.07954).

Key frames of an input video are noised a part of the way and denoised under a prompt: a ControlNet holds them to the
edges of the input, and self-attention in the decoder looks at the first and the previous key frame in place of the
frame itself, so that all get one look. The paper's fusion by optical flow, and its filling in between key frames, are
not here: FreeU has no part in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from freeu.generate import generator

from . import inputs
from .control import edges
from .cross_frame import CrossFrameAttention
from .image_to_image import ImageToImage
from .place import Place
from .spec import ModelSpec


class VideoToVideo(ImageToImage):
    """A `freeu.generate.Generator` that gives uint8 (n, frames, 3, H, W). All frames of a video begin with the same
    noise."""

    def __init__(self, pipeline: Any, spec: ModelSpec, identity: str, place: Place) -> None:
        super().__init__(pipeline, spec, identity, place)
        self.frames = spec.frames
        processors = {
            name: CrossFrameAttention(spec.frames) if name.startswith("up_blocks") and ".attn1." in name else each
            for name, each in self._unet.attn_processors.items()
        }
        self._unet.set_attn_processor(processors)

    def _settle(self) -> None:
        super()._settle()
        self._edges = edges(inputs.load(self._spec, "", self.image_size)).to(self._device, self._unet.dtype)

    def _shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        latent, drawn = super()._shapes()
        return latent, (self._spec.frames, *drawn)

    def unet_evaluations(self, n: int) -> int:
        """Each frame is a sample."""
        return self.frames * super().unet_evaluations(n)

    def _draw(self, prompts: Sequence[str], seeds: Sequence[int], told: Callable[[float], None]) -> torch.Tensor:
        pairs = [pair for pair in zip(prompts, seeds, strict=True) for _ in range(self.frames)]
        randoms = [generator(*pair) for pair in pairs]  # each frame's own, all alike
        names, scheduler = [prompt for prompt, _ in pairs], self._scheduler()
        latents = self._begin(prompts, randoms, scheduler)
        condition, times = self._condition(names, randoms), self._timesteps(scheduler)
        latents = self._denoise(latents, condition, randoms, scheduler, times, told)
        return latents.unflatten(0, (len(prompts), self.frames))

    def _decode(self, latents: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        names = [prompt for prompt in prompts for _ in range(self.frames)]
        return super()._decode(latents.flatten(0, 1), names).unflatten(0, (len(prompts), self.frames))

    def _predict(self, x: torch.Tensor, t: torch.Tensor, condition: dict[str, Any]) -> torch.Tensor:
        edges = self._edges.repeat(len(x) // self.frames, 1, 1, 1)
        down, middle = self._pipeline.controlnet(x, t, **condition, controlnet_cond=edges, return_dict=False)
        residuals = {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
        return self._unet(x, t, **condition, **residuals, return_dict=False)[0]
